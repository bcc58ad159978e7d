"""Rows of the competition's csv: one for each slice and class, `id,class,predicted`."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from volseg.data.layouts.gi_tract.rle import encode, slice_planes
from volseg.errors import UserError
from volseg.system.files import write_csv

Mask = npt.NDArray[np.bool_]
HEADER = ("id", "class", "predicted")


class RleRow(NamedTuple):
    """One slice and class: `case123_day0_slice_0032`, `stomach`, run-length text ('' for no mask)."""

    id: str
    class_name: str
    predicted: str


def slice_id(scan: str, number: int) -> str:
    """The competition's id of a slice: `case123_day0_slice_0032`, padded to four digits."""
    return f"{scan}_slice_{number:04d}"


def scan_rows(
    scan: str, slices: Sequence[int], *, classes: Sequence[str], masks: Iterable[Mask]
) -> list[RleRow]:
    """A scan's rows, slice by slice, classes in the order given.

    `slices` are the source numbers along Z, `masks` bool (X, Y, Z) on the native grid, one a class; one
    is in memory at a time.
    """
    texts = [[encode(plane) for plane in slice_planes(mask)] for mask in masks]
    if len(texts) != len(classes) or any(len(text) != len(slices) for text in texts):
        sizes = f"{len(texts)} masks of {[len(text) for text in texts]} slices"
        raise ValueError(f"{sizes} for {len(classes)} classes and {len(slices)} slices")
    return [
        RleRow(slice_id(scan, number), class_name, text)
        for number, *of_classes in zip(slices, *texts, strict=True)
        for class_name, text in zip(classes, of_classes, strict=True)
    ]


def write(path: Path, table: Iterable[RleRow], *, header: Sequence[str] = HEADER) -> None:
    """Write rows below a header, atomically."""
    write_csv(path, header, table)


def read(path: Path) -> list[RleRow]:
    """The rows of a file that `write` wrote, in any order.

    Raises:
        UserError: missing, not text, other columns, or a row with too few or too many fields.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a readable csv file ({error})") from error
    header = tuple(lines[0]) if lines else ()
    if header != HEADER:
        columns = ",".join(header) or "nothing"
        raise UserError(f"{path}: its columns are {columns}; expected {','.join(HEADER)}")
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(HEADER):
            raise UserError(f"{path}: line {number} has {len(line)} fields; expected 3")
    return [RleRow(*line) for line in lines[1:]]
