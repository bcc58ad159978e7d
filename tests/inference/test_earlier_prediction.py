import json
import os
from pathlib import Path

import numpy as np
import pytest

from tests import predicted
from tests.tiny import CLASSES
from volseg.data import volume_files
from volseg.data.dataset import Dataset
from volseg.data.volume import Volume
from volseg.data.volume_files import write_volume
from volseg.errors import OutputError, UserError
from volseg.inference.earlier_prediction import EarlierPrediction
from volseg.system.locks import folder_lock

SCAN = "case1_day0"
WRITTEN = (*(f"{name}.nii.gz" for name in CLASSES), "rle.csv")
MINE = {"source": ["/a/image.nii.gz"], "image_hash": "a", "key": "k"}


@pytest.fixture
def folder(data: Path, tmp_path: Path) -> Path:
    return predicted.write(tmp_path, Dataset.load(data), SCAN, **MINE)


def found(folder: Path) -> EarlierPrediction:
    return EarlierPrediction.find_in(folder, WRITTEN)


def draw(path: Path) -> None:
    mask = volume_files.read(path)
    write_volume(mask.with_voxels(1 - mask.voxels), path)


def without_hashes(folder: Path) -> None:
    """As an earlier version left it, an hour ago."""
    record = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps({**record, "files": {}}))
    for path in folder.iterdir():
        os.utime(path, (1e9, 1e9))


def test_a_prediction_of_the_same_inputs_is_reused_while_each_file_is_as_it_was_written(folder: Path) -> None:
    assert found(folder).reusable_record("k")
    assert not found(folder).reusable_record("other")

    (folder / "rle.csv").unlink()

    assert not found(folder).reusable_record("k")


def test_a_mask_that_was_corrected_is_somebodys_work(folder: Path) -> None:
    draw(folder / "stomach.nii.gz")

    assert found(folder).peoples_files == ("stomach.nii.gz",)
    assert not found(folder).reusable_record("k")


def test_a_damaged_mask_is_nobodys_work_and_is_made_again(folder: Path) -> None:
    path = folder / "stomach.nii.gz"
    path.write_bytes(path.read_bytes()[:-40])

    assert found(folder).peoples_files == ()
    assert not found(folder).reusable_record("k")


def test_what_the_record_does_not_list_is_somebodys_work(folder: Path) -> None:
    record = json.loads((folder / "record.json").read_text())
    record["files"].pop("stomach.nii.gz")
    (folder / "record.json").write_text(json.dumps(record))

    assert found(folder).peoples_files == ("stomach.nii.gz",)


def test_without_hashes_a_mask_is_somebodys_work_if_it_is_newer_than_its_record(folder: Path) -> None:
    without_hashes(folder)
    assert found(folder).peoples_files == ()
    assert found(folder).reusable_record("k")

    draw(folder / "stomach.nii.gz")

    assert found(folder).peoples_files == ("stomach.nii.gz",)


def test_removed_are_the_files_that_the_record_lists_and_no_others(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    (folder / "liver.nii.gz").write_bytes(b"mine")

    found(folder).remove()

    assert {path.name for path in folder.iterdir()} == {"notes.txt", "liver.nii.gz"}


def test_of_a_record_without_hashes_probability_maps_are_removed_too(folder: Path) -> None:
    without_hashes(folder)
    (folder / "stomach_probability.nii.gz").write_bytes(b"old")

    found(folder).remove()

    assert not list(folder.iterdir())


def test_masks_without_a_record_are_refused(folder: Path) -> None:
    found(folder).refuse_foreign_masks()
    (folder / "record.json").unlink()

    with pytest.raises(
        OutputError, match=r"volseg did not write them; choose another --out, or pass --force"
    ):
        found(folder).refuse_foreign_masks()


@pytest.mark.parametrize(
    ("source", "image", "conflicts"),
    [
        ("/a/image.nii.gz", "a", False),
        ("/a/image.nii.gz", "b", False),  # the file was replaced: its masks are made again
        ("/a/image.nii.gz", "", False),  # it can't be read any more
        ("/b/image.nii.gz", "a", False),  # it was moved
        ("/b/image.nii.gz", "b", True),
        ("/b/image.nii.gz", "", True),
    ],
)
def test_masks_are_another_scans_if_neither_image_nor_place_is_the_same(
    folder: Path, source: str, image: str, conflicts: bool
) -> None:
    told = found(folder).conflict_with([source], image)

    assert bool(told) == conflicts
    if conflicts:
        assert "/a/image.nii.gz" in told
        assert "another --out for /b/image.nii.gz, or pass --force" in told


def test_without_a_source_masks_on_another_grid_are_another_scans(folder: Path) -> None:
    without_hashes(folder)
    record = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps({**record, "source": [], "image_hash": ""}))
    mask = volume_files.read(folder / "stomach.nii.gz")
    moved = Volume(mask.voxels, mask.affine + np.diag([0, 0, 0.5, 0]))

    assert found(folder).conflict_with(["/b/image.nii.gz"], "b", mask) == ""
    assert "masks of another grid, so of another scan" in found(folder).conflict_with(["/b"], "b", moved)


def test_a_mask_that_was_corrected_on_another_image_is_neither_kept_for_this_one_nor_replaced(
    folder: Path,
) -> None:
    draw(folder / "stomach.nii.gz")

    told = found(folder).conflict_with(["/a/image.nii.gz"], "b")

    assert "holds stomach.nii.gz corrected on another image, which stay; --force" in told


def test_a_mask_that_was_drawn_where_inference_failed_stays(folder: Path) -> None:
    predicted.record(folder.parent, SCAN, status="failed", reason="no memory", **MINE)
    os.utime(folder / "record.json", (1e9, 1e9))

    told = found(folder).conflict_with(["/a/image.nii.gz"], "a")

    assert "stomach.nii.gz, rle.csv that volseg did not write" in told


def test_what_is_kept_has_no_confidence_in_the_corrected_mask_and_says_what_is_missing(
    data: Path, tmp_path: Path
) -> None:
    confidence = {name: {"dice": 0.9, "calibrated": False, "volume_ml": 1.0} for name in CLASSES}
    folder = predicted.write(tmp_path, Dataset.load(data), SCAN, confidence=confidence)
    draw(folder / "stomach.nii.gz")

    record, told = found(folder).keep_corrected()
    (folder / "large_bowel.nii.gz").unlink()

    assert set(record.confidence) == {"large_bowel"}
    assert "kept: stomach.nii.gz was corrected by hand; --force replaces it" in told
    assert "corrected by hand; large_bowel.nii.gz is missing; --force" in found(folder).keep_corrected()[1]


def test_corrections_beside_the_masks_are_somebodys_work_and_leave_the_prediction_reusable(
    folder: Path,
) -> None:
    predicted.correct(folder, stomach=5)

    assert found(folder).peoples_files == ("corrected/",)
    assert found(folder).edited_files == ()
    assert found(folder).reusable_record("k")
    assert "holds corrected/ corrected on another image" in found(folder).conflict_with(
        ["/a/image.nii.gz"], "b"
    )

    (folder / "corrected").rename(folder / ".unsaved")

    assert found(folder).peoples_files == (".unsaved/",)


def test_corrections_without_a_record_are_refused(folder: Path) -> None:
    predicted.correct(folder)
    for path in folder.iterdir():
        if path.is_file():
            path.unlink()

    with pytest.raises(OutputError, match=r"holds corrected/ without record\.json"):
        found(folder).refuse_foreign_masks()


def test_what_is_kept_for_its_corrections_says_what_force_would_do(data: Path, tmp_path: Path) -> None:
    confidence = {name: {"dice": 0.9, "calibrated": False, "volume_ml": 1.0} for name in CLASSES}
    folder = predicted.write(tmp_path, Dataset.load(data), SCAN, confidence=confidence)
    predicted.correct(folder, stomach=5)

    record, told = found(folder).keep_corrected()

    assert set(record.confidence) == {"large_bowel"}
    assert told == (
        f"{folder}: kept: masks corrected in `volseg view` lie in corrected/; --force replaces the "
        "prediction and removes corrected/"
    )
    draw(folder / "large_bowel.nii.gz")
    (folder / "corrected" / "stomach.nii.gz").unlink()

    record, told = found(folder).keep_corrected()

    assert record.confidence == {}
    assert told == (
        f"{folder}: kept: large_bowel.nii.gz was corrected by hand, masks corrected in `volseg view` lie in "
        "corrected/; corrected/stomach.nii.gz is missing; --force replaces it and removes corrected/"
    )


def test_what_a_page_has_is_not_removed(folder: Path) -> None:
    predicted.correct(folder)
    earlier = found(folder)
    with folder_lock(folder):
        before = sorted(folder.rglob("*"))
        for remove in (earlier.remove, earlier.remove_corrections):
            with pytest.raises(UserError, match="open in `volseg view`"):
                remove()
        assert not earlier.remove_unless_open()
        assert sorted(folder.rglob("*")) == before

    assert earlier.remove_unless_open()
    assert not [*folder.iterdir()]


def test_with_the_prediction_its_corrections_are_removed_and_told(folder: Path) -> None:
    predicted.correct(folder)
    (folder / ".unsaved").mkdir()
    (folder / "notes.txt").write_text("mine")

    told = found(folder).remove_corrections()

    assert told == f"{folder}: removed for --force: corrected/ and .unsaved/"
    assert found(folder).remove_corrections() == ""
    predicted.correct(folder)
    found(folder).remove()
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
