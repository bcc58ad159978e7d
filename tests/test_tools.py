import importlib.util
import json
import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path

import nibabel
import numpy as np
import pytest

from tests.raw import CLASSES, SCANS, Raw
from volseg.arguments import PrepareArguments
from volseg.data import volumes_to_slices
from volseg.data.volume import Volume
from volseg.data.volume_files import write_volume
from volseg.preparation.prepare import prepare

TOOLS = Path(__file__).resolve().parents[1] / "tools"


@pytest.fixture
def raw(tmp_path):
    return Raw(tmp_path / "raw")


def ran(tool, *arguments):
    command = [sys.executable, TOOLS / f"{tool}.py", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return ended.returncode, ended.stdout, ended.stderr


stack, unstack = partial(ran, "stack_slices"), partial(ran, "volumes_to_slices")


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

    code, _, _ = stack(shared_data / "uwmgi_real/train/case47", out)

    assert code == 0
    assert nibabel.load(out).shape == (360, 310, 78)


def listing(folder, voxels, affine, classes=CLASSES):
    """A MONAI datalist of one scan, on which the first class is everywhere."""
    write_volume(Volume(voxels, affine), folder / "anna.nii.gz")
    write_volume(Volume(np.ones(voxels.shape, np.uint8), affine), folder / "l.nii.gz")
    labels = {"background": 0, **{name: i for i, name in enumerate(classes, start=1)}}
    items = [{"image": "anna.nii.gz", "label": "l.nii.gz"}]
    path = folder / "listing.json"
    path.write_text(json.dumps({"labels": labels, "training": items}))
    return path


def test_unstacked_volumes_are_the_raw_dataset_and_stdout_ends_with_how_to_read_them(raw, tmp_path):
    prepare(raw.root, options=PrepareArguments(out=tmp_path / "prepared", workers=1, slice_mm=2.5))
    out = tmp_path / "a folder"

    code, told, warned = unstack(tmp_path / "prepared", out)

    assert (code, warned) == (0, "")
    assert told == (
        f"{out}: 4 scans (4 labelled), 20 slices\n"
        f"{shlex.join(['volseg', 'prepare', str(out), '--slice-mm', '2.5'])}\n"
    )
    assert (out / "train.csv").read_text() == raw.csv.read_text()


def test_the_printed_command_reads_what_was_written(tmp_path):
    voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4) - 7
    source = listing(tmp_path, voxels, np.diag([1, 1, 2.03125, 1]), classes=("left lung", "b"))
    _, told, warned = unstack(source, tmp_path / "out")
    command = [sys.executable, "-m", *shlex.split(told.splitlines()[-1])]

    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)

    assert ended.returncode == 0, ended.stderr
    assert "warning: " in warned
    image = nibabel.load(tmp_path / "data/prepared/images/case1_day0.nii.gz")
    np.testing.assert_array_equal(image.dataobj, voxels[::-1, ::-1, ::-1] + 7)
    np.testing.assert_allclose(image.header.get_zooms(), (1, 1, 2.03125), atol=1e-4)
    label = nibabel.load(tmp_path / "data/prepared/labels/case1_day0/left_lung.nii.gz")
    assert np.asarray(label.dataobj).all()


def test_what_no_png_holds_is_refused_or_rounded_on_demand(tmp_path):
    voxels = np.linspace(0, 1, 24).reshape(2, 3, 4)
    source, out = listing(tmp_path, voxels, np.diag([-1, -1, -3, 1])), tmp_path / "out"

    code, told, refused = unstack(source, out)
    left = out.exists()
    rescaled, _, warned = unstack(source, out, "--rescale")

    path = tmp_path / "anna.nii.gz"
    assert (code, told, left) == (1, "", False)
    assert refused == (
        f"{path}: holds fractions from 0 to 1, but a PNG holds 65,536 whole numbers; "
        "pass --rescale to round them to so many steps\n"
    )
    assert rescaled == 0
    assert f"warning: {path}: its voxels are rounded to steps of 1.5259e-05\n" in warned
    assert (out / "mapping.csv").read_text().splitlines() == [
        "scan,name,case,day,source,channel,scale,offset",
        f"case1_day0,anna,anna,0,{path},image,{1 / 65_535!r},0",
    ]


def test_unstacking_to_a_folder_in_use_is_refused(tmp_path):
    source = listing(tmp_path, np.ones((2, 2, 2), np.uint8), np.eye(4))

    assert unstack(source, tmp_path) == (
        1,
        "",
        f"{tmp_path}: exists and isn't an empty folder; name a new one\n",
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["somewhere"], "required: OUT"),
        (["somewhere", "out", "--channel", "0"], "'0' must be a whole number from 1"),
        (["somewhere", "out", "--slice-mm", "0"], "'0' must be a number above 0"),
    ],
)
def test_wrong_usage_of_unstacking_is_exit_code_2(arguments, words):
    code, told, warned = unstack(*arguments)

    assert (code, told) == (2, "")
    assert words in warned


def test_ctrl_c_is_exit_code_130(monkeypatch):
    spec = importlib.util.spec_from_file_location("tool", TOOLS / "volumes_to_slices.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)

    def stopped(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(volumes_to_slices, "convert_dataset", stopped)
    assert tool.main(["somewhere", "out"]) == 130
