"""A folder contoured by the rules of a node, without a network."""

import shutil

import pytest

pytest.importorskip("pynetdicom", reason="needs volseg[dicom]")

from pydicom import dcmread

from tests.dicom_node import STAND_IN, checked, values
from tests.dicom_series import example_pixels, write_series
from volseg.dicom.node import series_watch
from volseg.dicom.node.folder_mode import contour_folder
from volseg.errors import UserError

SHAPE = (3, 8, 8)


@pytest.fixture(autouse=True)
def no_run(monkeypatch) -> None:
    monkeypatch.setattr(series_watch, "contouring_identity", lambda rule: rule.name)


@pytest.fixture
def settings(tmp_path):
    given = values(tmp_path / "spool")
    del given["listen"], given["destinations"]
    return checked(given)


def test_each_series_that_fits_has_its_results_and_nothing_else_is_left(tmp_path, settings) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    write_series(source / "a", shape=SHAPE, PatientID="one")
    write_series(source / "b" / "deep", shape=SHAPE, PatientID="two")
    write_series(source / "ct", shape=SHAPE, modality="CT")
    (source / "notes.txt").write_text("no image")
    (source / "link").symlink_to("/etc")

    done = contour_folder(settings, source, out, command=STAND_IN)

    assert (len(done.results), done.failures, done.images, done.others) == (2, (), 9, 1)
    assert sorted(path.name for path in out.iterdir()) == ["any-mr-1", "any-mr-2"]
    results = [dcmread(path) for path in out.rglob("*.dcm")]
    assert sorted((one.PatientID, one.Modality) for one in results) == [
        ("one", "RTSTRUCT"), ("one", "SEG"), ("two", "RTSTRUCT"), ("two", "SEG"),
    ]  # fmt: skip
    assert all(path.stat().st_mode & 0o077 == 0 for path in out.rglob("*"))
    assert not (tmp_path / "spool").exists()


def test_a_series_unlike_those_of_training_is_told(tmp_path, settings, monkeypatch, caplog) -> None:
    write_series(tmp_path / "in/a")
    monkeypatch.setenv("STAND_IN", "unlike")

    with caplog.at_level("WARNING"):
        done = contour_folder(settings, tmp_path / "in", tmp_path / "out", command=STAND_IN)

    assert len(done.results) == 1
    assert "unlike the scans of training: a CT" in caplog.text


def test_a_series_that_is_refused_is_told_with_its_reason(tmp_path, settings, monkeypatch) -> None:
    monkeypatch.setenv("STAND_IN", "refuse")
    write_series(tmp_path / "in", shape=SHAPE)

    done = contour_folder(settings, tmp_path / "in", tmp_path / "out", command=STAND_IN)

    reason = "volseg: series 1 of 1: a slice is missing"
    assert done.failures == (f"a series of 3 slices by the rule any-mr: {reason}",)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("uids", "reach"),
    [(lambda number: f"1.2.3.{number}", 7), ("1.2.3.1", 7)],
    ids=["two of each", "one of all"],
)
def test_images_that_share_a_uid_are_all_contoured(tmp_path, settings, monkeypatch, uids, reach) -> None:
    """Which of them is right is for `volseg infer` to say: it refuses doubled slices."""
    monkeypatch.setenv("STAND_IN_LOG", str(tmp_path / "starts.txt"))
    tags = {"SeriesInstanceUID": "1.2.3", "SOPInstanceUID": uids}
    first = write_series(tmp_path / "in/a", shape=SHAPE, **tags)
    shutil.copy(first[0], tmp_path / "in/copy.dcm")  # no other image, so it does not count
    write_series(tmp_path / "in/b", shape=(4, 8, 8), pixels=example_pixels((4, 8, 8)) + 1, **tags)

    contour_folder(settings, tmp_path / "in", tmp_path / "out", command=STAND_IN)

    assert (tmp_path / "starts.txt").read_text().split() == [str(reach)]


def test_a_folder_with_something_in_it_is_not_written_to(tmp_path, settings) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")

    with pytest.raises(UserError, match="holds something; name a new or empty folder"):
        contour_folder(settings, tmp_path / "in", tmp_path / "out", command=STAND_IN)
    shutil.rmtree(tmp_path / "out")
    assert contour_folder(settings, tmp_path / "in", tmp_path / "out", command=STAND_IN).images == 0
