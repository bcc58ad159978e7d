"""Which series a scan is of: never by its name alone where its image or its patient is known."""

import pytest
from pydicom import dcmread

from tests.dicom.test_contours import own_salt, write_predictions  # noqa: F401 - the salt is a fixture
from tests.dicom_series import example_pixels, write_series
from volseg.arguments import ContoursArguments
from volseg.data.layouts.dicom.find import case_name, open_series
from volseg.dicom import contours as stage
from volseg.dicom import scan_series
from volseg.errors import UserError
from volseg.inference.prediction_folder import load_predictions

PEOPLE = {"PatientID": "one", "PatientName": "One"}


@pytest.fixture
def dicom(tmp_path):
    write_series(tmp_path / "series", **PEOPLE)
    return tmp_path / "series"


def replaced_series(folder, dicom, *, pixels=None, **tags):
    """A series of the same UIDs, with other pixels or tags."""
    folder.mkdir()
    for path in dicom.iterdir():
        dataset = dcmread(path)
        if pixels:
            dataset.PixelData = dataset.pixel_array[::-1].tobytes()
        for key, value in tags.items():
            setattr(dataset, key, value)
        dataset.save_as(folder / path.name)
    return folder


def predicted(tmp_path, dicom, **told):
    """The predictions of a series, by whose patient's name the case is called, as `infer` does."""
    series = open_series(dicom)
    case = case_name(PEOPLE["PatientID"], series)
    return write_predictions(tmp_path / "predictions", series, **{"case": case, **told})


def test_a_series_of_the_same_uids_with_other_pixels_is_refused(dicom, tmp_path):
    predictions = predicted(tmp_path, dicom)
    other = replaced_series(tmp_path / "other", dicom, pixels="flipped")
    assert open_series(other).name == open_series(dicom).name

    with pytest.raises(UserError, match="has another image than the one it was predicted from"):
        stage.contours(predictions, [other], ContoursArguments(out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_series_of_the_same_uids_of_another_patient_is_refused(dicom, tmp_path):
    predictions = predicted(tmp_path, dicom)
    other = replaced_series(tmp_path / "other", dicom, PatientID="another")

    with pytest.raises(UserError, match="another patient's id than when it was predicted") as told:
        stage.contours(predictions, [other], ContoursArguments(out=tmp_path / "out"))
    assert "another," not in str(told.value)
    assert not (tmp_path / "out").exists()


def test_masks_of_another_patient_are_not_written_after_predicting_either(dicom, tmp_path):
    """Masks that `infer` kept, as they were corrected: their record is of an earlier time."""
    predictions = predicted(tmp_path, dicom)
    (record,) = load_predictions(predictions)
    other = open_series(replaced_series(tmp_path / "other", dicom, PatientID="another"))

    result = stage.contours_of_records(
        [record], predictions, {other.name: other}, ContoursArguments(out=tmp_path / "out")
    )

    assert result.files == ()
    assert "another patient's id" in result.failed[record.scan]


def test_a_record_that_knows_no_image_goes_by_name_and_says_so(dicom, tmp_path):
    predictions = predicted(tmp_path, dicom, image_hash="")

    result = stage.contours(predictions, [dicom], ContoursArguments(out=tmp_path / "out"))

    assert len(result.files) == 2
    assert any("found by name alone" in note for note in result.notes)


def test_after_predicting_no_image_is_read_again(dicom, tmp_path, monkeypatch):
    predictions = predicted(tmp_path, dicom)
    (record,) = load_predictions(predictions)
    series = open_series(dicom)
    monkeypatch.setattr(scan_series, "read_volume", lambda _: pytest.fail("read again"))

    result = stage.contours_of_records(
        [record], predictions, {series.name: series}, ContoursArguments(out=tmp_path / "out")
    )

    assert len(result.files) == 2
    assert result.notes == ()


def test_volumes_of_a_series_that_share_uids_get_no_objects(tmp_path):
    """Two echoes whose images have the same UIDs: nobody could tell which of them is meant."""
    first = write_series(tmp_path / "first", EchoTime="10", SOPInstanceUID=lambda n: f"1.2.3.{n + 1}")
    same = {key: dcmread(first[0])[key].value for key in ("StudyInstanceUID", "SeriesInstanceUID")}
    same["FrameOfReferenceUID"] = dcmread(first[0]).FrameOfReferenceUID
    pixels = example_pixels((14, 48, 64))[::-1]
    uids = {"SOPInstanceUID": lambda n: f"1.2.3.{n + 1}"}
    write_series(tmp_path / "second", EchoTime="80", pixels=pixels, **same, **uids)
    series = open_series(tmp_path / "first")
    predictions = write_predictions(tmp_path / "predictions", series)
    paths = [tmp_path / "first", tmp_path / "second"]

    with pytest.raises(UserError, match="references would be ambiguous"):
        stage.contours(predictions, paths, ContoursArguments(out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()
