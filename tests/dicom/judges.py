"""Programs of others that read what volseg writes; a test is skipped where one is missing."""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.conftest import REPOSITORY
from volseg.data import volume_files
from volseg.data.layouts.dicom.series import DicomSeries

Mask = npt.NDArray[np.bool_]
JUDGES = REPOSITORY / ".venv-judges/bin/python"
CONVERT = """
import sys
from dcmrtstruct2nii import dcmrtstruct2nii

dcmrtstruct2nii(*sys.argv[1:], convert_original_dicom=False)
"""


def by_dcmrtstruct2nii(structures: Path, series: DicomSeries, out: Path) -> Mapping[str, Mask]:
    """The masks (planes, rows, columns) of the structures by name, by dcmrtstruct2nii."""
    if not JUDGES.is_file():
        pytest.skip("needs dcmrtstruct2nii in .venv-judges: make judges")
    run_program(JUDGES, "-c", CONVERT, structures, series.planes[0].path.parent, out)
    return {
        path.name.removeprefix("mask_").removesuffix(".nii.gz"): _read_mask(path, series)
        for path in out.glob("*.nii.gz")
    }


def by_plastimatch(structures: Path, series: DicomSeries, out: Path) -> Mapping[str, Mask]:
    """The masks (planes, rows, columns) of the structures by name, by plastimatch."""
    require_program("plastimatch", "plastimatch")
    images = series.planes[0].path.parent
    run_program(
        "plastimatch", "convert", "--input", structures, "--referenced-ct", images,
        "--output-prefix", out, "--prefix-format", "nii.gz",
    )  # fmt: skip
    return {path.name.removesuffix(".nii.gz"): _read_mask(path, series) for path in out.glob("*.nii.gz")}


def by_dcmqi(segmentation: Path, series: DicomSeries, out: Path) -> list[Mask]:
    """The masks (planes, rows, columns) of the segments in order, by dcmqi."""
    program = Path(sys.executable).with_name("segimage2itkimage")
    if not program.is_file():
        pytest.skip("needs dcmqi: pip install dcmqi")
    out.mkdir(parents=True)
    run_program(program, "--inputDICOM", segmentation, "--outputDirectory", out, "-t", "nii")
    return [
        _read_mask(path, series)
        for path in sorted(out.glob("*.nii.gz"), key=lambda path: int(path.name[:-7]))
    ]


def errors_of_dciodvfy(path: Path) -> list[str]:
    """The lines in which dciodvfy finds an error in an object."""
    require_program("dciodvfy", "dicom3tools")
    told = subprocess.run(["dciodvfy", path], capture_output=True, text=True, errors="replace", check=False)
    lines = (told.stdout + told.stderr).splitlines()
    assert lines, "dciodvfy says nothing"
    return [line for line in lines if line.startswith("Error")]


def require_program(name: str, package: str) -> None:
    """Skip the test where a program is not installed."""
    if not shutil.which(name):
        pytest.skip(f"needs {name}: apt-get install {package}")


def run_program(*words: object) -> None:
    """Run a program, which must not fail."""
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def _read_mask(path: Path, series: DicomSeries) -> Mask:
    planes = series.planes_of_volume(volume_files.read(path))
    assert planes is not None, "the mask is on another grid than its series"
    return np.asarray(planes != 0)
