"""Which scans are shown, in which order, and what is beside each."""

import numpy as np
import pytest

from tests import predicted, tiny, viewed
from volseg.data.dataset import Dataset
from volseg.data.volume import stack_affine
from volseg.errors import UserError
from volseg.viewer.refusal import RefusedError
from volseg.viewer.scan_list import ScanList


@pytest.fixture
def folder(data, tmp_path):
    dataset = Dataset.load(data)
    names = ("case2_day2", "case1_day0", "case2_day0", "case2_day1")
    return viewed.predictions(tmp_path / "predictions", dataset, *names)


def test_a_case_has_all_its_days_in_the_order_of_trust(folder, data) -> None:
    scans = ScanList.load(folder, "case2", data)

    assert scans.names == ("case2_day2", "case2_day0", "case2_day1")
    assert scans.neighbours("case2_day0") == ("case2_day2", "case2_day1")


def test_what_was_not_asked_for_is_not_there_but_may_be_the_earlier_day(folder, data) -> None:
    scans = ScanList.load(folder, "case2_day2", data)

    with pytest.raises(RefusedError) as refused:
        scans.scan("case1_day0")
    assert refused.value.status == 404
    assert scans.scan("case2_day2").earlier.name == "case2_day1"


def test_the_first_day_has_no_earlier_one(folder, data) -> None:
    assert ScanList.load(folder, None, data).scan("case2_day0").earlier is None


def test_a_failed_scan_is_listed_and_can_not_be_opened(folder, data) -> None:
    predicted.record(folder, "case3_day0", status="failed", reason="too dark", classes=tiny.CLASSES)
    scans = ScanList.load(folder, None, data)

    assert scans.names[-1] == "case3_day0"
    assert "case3_day0" not in scans.done
    with pytest.raises(RefusedError, match="too dark"):
        scans.scan("case3_day0")
    with pytest.raises(UserError, match="too dark"):
        ScanList.load(folder, "case3_day0", data)


def test_the_list_tells_in_what_a_scan_is_unlike_those_of_training(folder, data) -> None:
    guess = {"stomach": {"dice": 0.6, "calibrated": False, "volume_ml": 1.0}}
    told = {"outside": ("spacing 4 mm",), "confidence": guess}
    predicted.record(folder, "case3_day1", status="done", classes=tiny.CLASSES, **told)
    rows = {row["name"]: row for row in viewed.open_viewer(folder, data=data).json("api/scans")["scans"]}

    assert rows["case3_day1"]["outside"] == ["spacing 4 mm"]
    assert rows["case3_day1"]["calibrated"] is False
    assert rows["case1_day0"]["outside"] == []


def test_a_scan_with_a_damaged_correction_is_listed_as_failed_and_stops_no_other(folder, data) -> None:
    (folder / "case2_day2/corrected").mkdir()
    (folder / "case2_day2/corrected/correction.json").write_text("{")
    viewer = viewed.open_viewer(folder, data=data)

    last = viewer.json("api/scans")["scans"][-1]
    assert (last["name"], last["status"]) == ("case2_day2", "failed")
    assert "corrected/correction.json" in last["reason"]
    assert viewer.facts("case2_day1")["next_scan"] == ""
    with pytest.raises(UserError, match=r"correction\.json"):
        ScanList.load(folder, "case2_day2", data)


def test_a_scan_whose_record_goes_is_listed_as_failed_and_the_others_stay(folder, data) -> None:
    viewer = viewed.open_viewer(folder, data=data)
    (folder / "case1_day0/record.json").unlink()

    rows = {one["name"]: one for one in viewer.json("api/scans")["scans"]}
    assert [name for name, one in rows.items() if one["status"] == "failed"] == ["case1_day0"]
    assert "record.json: is gone" in rows["case1_day0"]["reason"]


def test_a_damaged_record_stops_its_own_scan_until_it_is_mended(folder, data) -> None:
    record = folder / "case1_day0/record.json"
    whole = record.read_text()
    for name, text in (("case1_day0", "{"), ("case2_day0", whole), ("case2_day2", '{"scan": 1}')):
        (folder / name / "record.json").write_text(text)
    (folder / "loose").mkdir()
    (folder / "loose/liver.nii.gz").write_bytes(b"")
    (folder / "predictions.json").write_text('[{"scan": "case7_day0"}, {"scan": "../case1_day0"}]')
    viewer = viewed.open_viewer(folder, data=data)

    rows = {one["name"]: one for one in viewer.json("api/scans")["scans"]}
    assert list(rows) == ["case2_day1", "case1_day0", "case2_day0", "case2_day2", "case7_day0", "loose"]
    told = (
        "",
        "JSON",
        "is the record of case1_day0",
        "status",
        "is gone or was never",
        "is gone or was never",
    )
    for row, reason in zip(rows.values(), told, strict=True):
        assert (row["status"], reason in row["reason"]) == ("failed" if reason else "done", True)
    assert viewer.facts("case2_day1")["next_scan"] == ""
    with pytest.raises(UserError, match="JSON"):
        ScanList.load(folder, "case1_day0", data)
    record.write_text(whole)
    assert viewer.facts("case1_day0")["name"] == "case1_day0"


def test_where_nothing_can_be_read_every_reason_is_told(folder, data) -> None:
    for record in folder.glob("*/record.json"):
        record.write_text("{")

    with pytest.raises(UserError) as refused:
        ScanList.load(folder, None, data)
    assert str(refused.value).count("not a record") == 4


def test_masks_of_another_tool_are_told_what_they_lack(tmp_path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/liver.nii.gz").write_bytes(b"")
    told = r"masks without record.json: another tool .* needs <scan>/record.json .* `volseg report"

    for folder in (tmp_path, tmp_path / "a"):
        with pytest.raises(UserError, match=f"^{folder}: {told} {folder} --data"):
            ScanList.load(folder)


def test_a_dataset_without_the_scans_is_refused_by_name_only(folder, tmp_path, monkeypatch) -> None:
    other = tiny.write(tmp_path / "data/prepared", cases=1, days=1)
    renamed = [one.model_copy(update={"name": "x", "image_hash": "0"}) for one in other.samples]
    Dataset(other.folder, other.facts.model_copy(update={"samples": tuple(renamed)})).save()
    monkeypatch.chdir(tmp_path)

    assert ScanList.load(folder).dataset is None
    with pytest.raises(UserError, match="none of the predicted scans"):
        ScanList.load(folder, None, other.folder)


def test_the_earlier_contour_is_the_corrected_one_and_lies_in_the_middle_of_another_field_of_view(
    tmp_path,
) -> None:
    """Stacks do not tell their place: the earlier has 4 voxels more at each side along X, 2 along Y."""
    earlier, later = np.zeros((18, 14, 5), bool), np.zeros((10, 10, 5), bool)
    earlier[6:9, 5:8, 1:3] = True
    affine = stack_affine((2.0, 2.0), 3.0)
    folder = viewed.prediction_of(tmp_path, "a_day1", {"liver": earlier}, affine)
    viewed.prediction_of(folder, "a_day2", {"liver": later}, affine)
    viewer = viewed.open_viewer(folder)

    expected = later.copy()
    expected[2:5, 3:6, 1:3] = True
    assert np.array_equal(viewer.voxels("a_day2", "earlier/liver"), expected[::-1, ::-1, ::-1])

    viewer.enter("a_day1")
    assert viewer.save("a_day1", [np.zeros_like(earlier)]).status_code == 200
    assert not viewer.voxels("a_day2", "earlier/liver").any()


def test_where_the_files_tell_the_place_the_earlier_contour_lies_there(tmp_path) -> None:
    earlier = np.zeros((10, 10, 5), bool)
    earlier[6:9, 5:8, 1:3] = True
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    affine[:3, 3] = (-10, -10, 5)
    moved = affine.copy()
    moved[0, 3] += 4  # two voxels to the right
    folder = viewed.prediction_of(tmp_path, "a_day1", {"liver": earlier}, affine)
    viewed.prediction_of(folder, "a_day2", {"liver": np.zeros_like(earlier)}, moved)

    shown = viewed.open_viewer(folder).voxels("a_day2", "earlier/liver")

    assert np.array_equal(shown[:8], earlier[2:])
    assert not shown[8:].any()
