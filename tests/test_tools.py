import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from tests.raw import SCANS, Raw

TOOLS = Path(__file__).resolve().parents[1] / "tools"


@pytest.fixture
def raw(tmp_path):
    return Raw(tmp_path / "raw")


def stack(*arguments):
    command = [sys.executable, TOOLS / "stack_slices.py", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return ended.returncode, ended.stdout, ended.stderr


def test_a_stack_is_the_slices_on_their_grid_and_stdout_says_which(raw, tmp_path):
    out = tmp_path / "one.nii.gz"

    code, told, warned = stack(raw.folder(SCANS[0]), out)

    assert (code, warned) == (0, "")
    assert told == f"{out}: 9 x 7 x 5 voxels of 1.5 x 1.63 x 3 mm, slices 11 to 15\n"
    image = nibabel.load(out)
    assert image.get_data_dtype() == np.uint16
    np.testing.assert_allclose(image.affine, np.diag([-1.5, -1.63, -3, 1]), rtol=1e-6)
    for z, number in enumerate(range(11, 16)):
        np.testing.assert_array_equal(image.dataobj[..., z].T, raw.images[SCANS[0], number])


def test_slice_mm_sets_the_distance_of_slices(raw, tmp_path):
    out = tmp_path / "one.nii"

    assert stack(raw.folder(SCANS[0]), out, "--slice-mm", "2.5")[0] == 0
    assert nibabel.load(out).header.get_zooms()[2] == pytest.approx(2.5)


def test_a_gap_is_an_error_unless_allowed_and_then_a_warning(raw, tmp_path):
    folder, out = raw.folder(SCANS[0]), tmp_path / "one.nii.gz"
    raw.path(SCANS[0], 12).unlink()
    gap = f"{folder}: slice 12 missing between 11 and 13; "

    refused = stack(folder, out)
    left = out.exists()
    code, told, warned = stack(folder, out, "--allow-gaps")

    assert refused == (1, "", gap + "re-download the scan or pass --allow-gaps\n")
    assert not left
    assert (code, warned) == (0, f"warning: {gap}the other slices are stacked as if they touched\n")
    assert told.startswith(f"{out}: 9 x 7 x 4 voxels")


def test_a_fault_of_the_data_is_a_sentence_and_exit_code_1(raw, tmp_path):
    case, out = raw.root / "train" / "case1", tmp_path / "one.nii.gz"

    assert stack(case, out) == (
        1,
        "",
        f"{case}: holds 2 days (case1_day0, case1_day5); give the folder of one day\n",
    )
    raw.path(SCANS[0], 12).write_bytes(b"")
    assert stack(raw.folder(SCANS[0]), out) == (
        1,
        "",
        f"{raw.path(SCANS[0], 12)}: zero bytes; copy or download the file again\n",
    )
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["somewhere"], "required: OUT.nii.gz"),
        (["somewhere", "one.png"], "'one.png' must end in .nii.gz or .nii"),
        (["somewhere", "one.nii", "--slice-mm", "0"], "'0' must be a number above 0"),
        (["somewhere", "one.nii", "--slice-mm", "x"], "'x' must be a number above 0"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments, words):
    code, told, warned = stack(*arguments)

    assert (code, told) == (2, "")
    assert words in warned


def test_help_tells_usage_and_exit_codes():
    code, told, _ = stack("--help")

    assert code == 0
    assert "usage: stack_slices.py" in told
    assert "Exit codes: 0 done, 1 a fault of the data, 2 wrong usage." in told


def test_the_real_scan_that_is_not_square_comes_out_wide(shared_data, tmp_path):
    out = tmp_path / "one.nii.gz"

    code, _, _ = stack(shared_data / "uwmgi/test/case41", out)

    assert code == 0
    assert nibabel.load(out).shape == (360, 310, 78)
