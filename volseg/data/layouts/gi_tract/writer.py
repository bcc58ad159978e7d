"""Write scans as they lie in the raw layout: folders of PNG slices, and the tables beside them."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt

from volseg.data.layouts.gi_tract import annotations, png, rle_csv, slice_files
from volseg.data.layouts.gi_tract.folder_names import PHANTOM
from volseg.data.layouts.gi_tract.rle_csv import RleRow
from volseg.data.layouts.raw_dataset import Part
from volseg.data.scan_names import case_and_day
from volseg.errors import UserError
from volseg.system.files import write_text

SAMPLE = "sample_submission.csv"


def check_new(root: Path) -> None:
    """Check that a dataset can be written to a folder without touching another.

    Raises:
        UserError: it exists and isn't an empty folder.
    """
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return
    cut_off = root.is_dir() and not (root / annotations.FILE).exists()
    if cut_off and any((root / part).is_dir() for part in get_args(Part)):
        fault = f"holds slices but no {annotations.FILE}: it was cut off as it was written"
        raise UserError(f"{root}: {fault}; remove it or name a new folder")
    raise UserError(f"{root}: exists and isn't an empty folder; name a new one")


def scan_folder(root: Path, part: Part, name: str) -> Path:
    """The folder of the slices of `case123_day20` below the root."""
    return root / part / case_and_day(name)[0] / name / "scans"


def write_slices(
    folder: Path, voxels: npt.NDArray[np.uint16], numbers: Sequence[int], *, pixel_mm: tuple[float, float]
) -> None:
    """Write a PNG for each slice of voxels (X, Y, Z) that run to the left, the back and the feet."""
    columns, rows, _ = voxels.shape
    for number, plane in zip(numbers, voxels.transpose(2, 1, 0), strict=True):
        png.write(folder / slice_files.file_name(number, (columns, rows), pixel_mm), plane)


def write_phantom_mark(root: Path) -> None:
    """Write the file by which `prepare` knows a phantom."""
    write_text(root / PHANTOM, "These scans are synthetic: volseg phantom drew them.\n")


def write_tables(root: Path, labelled: Iterable[RleRow]) -> None:
    """Write an empty sample submission, then `train.csv`, which only a whole dataset has."""
    rle_csv.write(root / SAMPLE, [])
    rle_csv.write(root / annotations.FILE, labelled, header=annotations.COLUMNS)
