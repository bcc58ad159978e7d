"""Saving: what was changed is counted right, and the folder is the old one or the new one, never half."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import documented, tiny, viewed
from volseg.data import volume_files
from volseg.inference.correction_file import Correction, read_correction
from volseg.inference.prediction_folder import Prediction, read_record
from volseg.system.files import file_sha256
from volseg.viewer.refusal import RefusedError
from volseg.viewer.saving import SaveRequest, change_of_mask, restore_scan, save_masks
from volseg.viewer.scan import ViewedScan

SCAN = "case1_day0"
WRITTEN = {"correction.json", *(f"{name}.nii.gz" for name in tiny.CLASSES)}


@pytest.fixture
def folder(data, tmp_path) -> Path:
    return viewed.predictions(tmp_path / "predictions", tiny.Dataset.load(data), SCAN)


def opened(folder: Path) -> ViewedScan:
    here = folder / SCAN
    return ViewedScan(Prediction.model_validate({**read_record(here).model_dump(), "folder": here}))


def bitmaps(scan: ViewedScan, **masks: np.ndarray) -> list[bytes]:
    """Each class's bytes: the mask that counts, or another on the native grid."""
    return [scan.grid.bitmap(scan.grid.to_display(masks.get(n, scan.mask(n))) != 0) for n in scan.classes]


def save(folder: Path, place: str = "corrected", scan: ViewedScan | None = None, **masks: np.ndarray):
    scan = scan or opened(folder)
    aside = scan.unsaved.saved if scan.unsaved else ""
    told = SaveRequest(writer="", base=scan.bases, aside=aside, seconds=12.34, looked_at=((3, 4),))
    return save_masks(scan, told, bitmaps(scan, **masks).__getitem__, place, reviewer="A. Who")


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def changed(scan: ViewedScan, *places: tuple[int, int, int], name: str = "stomach") -> np.ndarray:
    mask = scan.mask(name).copy()
    for place in places:
        mask[place] = ~mask[place]
    return mask


def test_saving_without_a_change_writes_the_predicted_files_again(folder) -> None:
    before = content(folder / SCAN)
    saved = save(folder)

    after = content(folder / SCAN)
    assert {name: data for name, data in after.items() if "/" not in name} == before
    for name in tiny.CLASSES:
        assert after[f"corrected/{name}.nii.gz"] == before[f"{name}.nii.gz"]
        assert saved.classes[name].model_dump() == {
            "changed_voxels": 0, "changed_ml": 0.0, "added_path_mm": 0.0, "slices": 0
        }  # fmt: skip
    assert not read_correction(folder / SCAN).changed_classes


def test_the_record_says_what_was_changed(folder) -> None:
    """Two voxels of 1.5 x 1.5 x 3 mm outside the mask, on slices 1 and 10, and one inside."""
    scan = opened(folder)
    inside = tuple(np.argwhere(scan.mask("stomach"))[0])
    save(folder, scan=scan, stomach=changed(scan, (0, 0, 0), (0, 0, 9), inside))

    correction = read_correction(folder / SCAN)
    one = correction.classes["stomach"]
    assert (one.added_voxels, one.removed_voxels) == (2, 1)
    assert one.added_ml == pytest.approx(2 * 6.75e-3)
    assert one.removed_ml == pytest.approx(6.75e-3)
    assert one.slices == (1, inside[2] + 1, 10)
    assert one.base == file_sha256(folder / SCAN / "stomach.nii.gz")
    assert one.file == file_sha256(folder / SCAN / "corrected/stomach.nii.gz")
    assert (correction.scan, correction.reviewer, correction.seconds) == (SCAN, "A. Who", 12.3)
    assert (correction.looked_at, correction.to_check) == (((3, 4),), 4)
    assert correction.changed_classes == ("stomach",)


def test_the_length_of_contour_is_that_which_had_to_be_drawn() -> None:
    """A square of 3 x 3 pixels of 2 x 2 mm where nothing was predicted has 8 pixels of contour: 16 mm."""
    predicted, mask = np.zeros((2, 8, 8, 5), bool)
    mask[2:5, 2:5, 1:3] = True

    told = {"spacing_mm": (2.0, 2.0, 4.0), "slice_axis": 2, "numbers": range(5)}
    assert change_of_mask(mask, predicted, **told).added_path_mm == 32
    assert change_of_mask(mask, mask, **told).added_path_mm == 0
    assert change_of_mask(predicted, mask, **told).added_path_mm == 0  # erasing costs no drawing
    assert change_of_mask(mask, predicted, **told).slices == (1, 2)


def test_slices_are_those_across_the_slice_axis() -> None:
    predicted, mask = np.zeros((2, 5, 8, 8), bool)
    mask[3, 2:5, 2:5] = True

    told = change_of_mask(mask, predicted, spacing_mm=(4.0, 2.0, 2.0), slice_axis=0, numbers=range(10, 15))

    assert (told.slices, told.added_path_mm) == ((13,), 16)


def test_a_second_save_replaces_the_first_whole_and_is_counted_from_the_prediction(folder) -> None:
    scan = opened(folder)
    save(folder, stomach=changed(scan, (0, 0, 0)))
    save(folder, stomach=changed(opened(folder), (1, 0, 0)))

    assert read_correction(folder / SCAN).classes["stomach"].added_voxels == 2
    assert opened(folder).mask("stomach")[:2, 0, 0].all()
    assert not opened(folder).predicted("stomach")[:2, 0, 0].any()


def test_masks_that_changed_meanwhile_are_not_written_over(folder) -> None:
    scan = opened(folder)
    assert scan.bases
    save(folder, stomach=changed(scan, (0, 0, 0)))
    before = content(folder)

    with pytest.raises(RefusedError, match="changed meanwhile") as refused:
        save_masks(
            opened(folder), SaveRequest(writer="", base=scan.bases), bitmaps(scan).__getitem__, "corrected"
        )

    assert refused.value.status == 409
    assert content(folder) == before


def test_bytes_that_are_no_mask_leave_everything_as_it_was(folder) -> None:
    scan, before = opened(folder), content(folder)
    sent = [bitmaps(scan)[0], b"\3" + bitmaps(scan)[1][1:]]

    with pytest.raises(RefusedError, match="stomach: holds the value 3"):
        save_masks(scan, SaveRequest(writer="", base=scan.bases), sent.__getitem__, "corrected")

    assert content(folder) == before


def test_work_that_lies_aside_counts_until_it_is_saved(folder) -> None:
    scan = opened(folder)
    save(folder, "unsaved", stomach=changed(scan, (0, 0, 0)))

    aside = opened(folder)
    assert aside.unsaved.changed_classes == ("stomach",)
    assert aside.unsaved_mask("stomach")[0, 0, 0]
    assert not aside.mask("stomach")[0, 0, 0]
    assert aside.bases == scan.bases
    assert aside.changed_since_unsaved == ()
    assert read_correction(folder / SCAN) is None

    save(folder)
    assert opened(folder).unsaved is None
    assert not (folder / SCAN / ".unsaved").exists()


def test_what_others_put_beside_the_corrected_masks_stays_there(folder) -> None:
    save(folder, stomach=changed(opened(folder), (0, 0, 0)))
    corrected = folder / SCAN / "corrected"
    (corrected / "notes.txt").write_text("see slice 4")
    (corrected / "rectum.nii.gz").write_bytes(b"of another tool")
    (corrected / "pictures/inner").mkdir(parents=True)
    (corrected / "pictures/inner/one.png").write_bytes(b"png")
    (corrected / "pictures/link").symlink_to("inner/one.png")
    others = {name: data for name, data in content(corrected).items() if name not in WRITTEN}
    assert len(others) == 4

    for _ in range(2):
        save(folder, stomach=changed(opened(folder), (1, 0, 0)))

    after = content(corrected)
    assert {name: data for name, data in after.items() if name not in WRITTEN} == others
    assert (corrected / "pictures/link").is_symlink()
    assert after.keys() == {*others, *WRITTEN}
    assert read_correction(folder / SCAN).classes["stomach"].added_voxels == 1


def test_where_a_drive_has_no_hard_links_the_files_of_others_are_copied(folder, monkeypatch) -> None:
    save(folder)
    (folder / SCAN / "corrected/notes.txt").write_text("see slice 4")

    def no_link(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_link)
    save(folder)

    assert (folder / SCAN / "corrected/notes.txt").read_text() == "see slice 4"


@pytest.mark.parametrize("place", ["corrected", "unsaved"])
def test_work_aside_that_no_page_offers_is_kept_under_another_name(folder, place, caplog) -> None:
    """A second volseg saved after it, or its correction.json is damaged."""
    scan = opened(folder)
    for number in (1, 2):
        save(folder, "unsaved", stomach=changed(scan, (0, 0, 0)))
        before = content(folder / SCAN / ".unsaved")
        (folder / SCAN / ".unsaved/correction.json").write_text("{")
        assert opened(folder).unsaved is None

        save(folder, place)

        kept = folder / SCAN / f"unsaved-{number}"
        assert content(kept) == {**before, "correction.json": b"{"}
        assert str(kept) in caplog.text


def test_work_aside_is_offered_unless_it_is_older_than_what_was_saved(folder) -> None:
    scan = opened(folder)
    save(folder, "unsaved", stomach=changed(scan, (0, 0, 0)))
    kept = folder / "kept"
    (folder / SCAN / ".unsaved").rename(kept)
    save(folder)
    kept.rename(folder / SCAN / ".unsaved")
    assert opened(folder).unsaved is None

    for path in (folder / SCAN / "corrected").iterdir():
        path.unlink()
    (folder / SCAN / "corrected").rmdir()
    assert opened(folder).unsaved
    volume = volume_files.read(folder / SCAN / "stomach.nii.gz")
    volume_files.write_volume(volume.with_voxels(volume.voxels ^ 1), folder / SCAN / "stomach.nii.gz")
    assert opened(folder).unsaved
    assert opened(folder).changed_since_unsaved == ("stomach",)


KILLED = """
import os, signal, sys
from pathlib import Path
import tests.viewer.test_saving as t
folder, step = Path(sys.argv[1]), int(sys.argv[2])
count = 0
def killing(function):
    def call(*arguments, **named):
        global count
        count += 1
        if count == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)
    return call
if sys.argv[3] == "no exchange":
    import volseg.system.files
    volseg.system.files._exchange_names = lambda *_: False
scan = t.opened(folder)
masks = {"stomach": t.changed(scan, (1, 1, 1)), "large_bowel": t.changed(scan, (1, 1, 1), name="large_bowel")}
sent = t.bitmaps(scan, **masks)
told = t.SaveRequest(writer="", base=scan.bases)
import volseg.system.files as files
files._exchange_names = killing(files._exchange_names)
for name in ("replace", "rename", "mkdir", "unlink", "rmdir", "open"):
    setattr(os, name, killing(getattr(os, name)))
t.save_masks(scan, told, sent.__getitem__, "corrected")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="SIGKILL, and the calls of Linux")
@pytest.mark.parametrize("exchange", ["exchange", "no exchange"])
def test_killed_at_any_step_the_folder_is_the_old_one_or_the_new_one(folder, exchange) -> None:
    """Killed before the first, the second and each further change of the disk, until a save gets through."""
    save(folder, stomach=changed(opened(folder), (0, 0, 0)))
    save(folder, "unsaved", stomach=changed(opened(folder), (5, 0, 0)))
    corrected = folder / SCAN / "corrected"
    old, seen, step = content(corrected), set(), 0
    environment = {**os.environ, "PYTHONPATH": str(documented.ROOT)}
    while True:
        step += 1
        words = [sys.executable, "-c", KILLED, str(folder), str(step), exchange]
        done = subprocess.run(words, check=False, capture_output=True, env=environment)
        assert done.returncode in (0, -9), done.stderr.decode()
        if exchange == "exchange":
            assert corrected.is_dir(), "the name is never free"
        restore_scan(folder / SCAN)
        now = content(corrected)
        written = Correction.model_validate_json(now["correction.json"])
        for name, one in written.classes.items():
            assert file_sha256(corrected / f"{name}.nii.gz") == one.file
        seen.add("old" if now == old else "new")
        assert now == old or written.changed_classes == ("large_bowel", "stomach")
        assert not [*(folder / SCAN).glob(".partial-*")]
        if now != old:
            assert done.returncode == 0 or opened(folder).unsaved is None
            break
    assert step > 5
    assert seen == {"old", "new"}
