"""What has been sliced of a dataset so far, and what is wrong with it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from volseg.data.layouts import Found
from volseg.data.layouts.gi_tract import slice_files
from volseg.data.layouts.gi_tract.rle_csv import Row
from volseg.data.layouts.gi_tract.slice_files import millimetres
from volseg.data.layouts.raw_dataset import RawScan
from volseg.data.preprocessing.grid import Grid
from volseg.data.volumes_to_slices.oriented_scan import Upright, image_of, upright
from volseg.errors import UserError
from volseg.formatting import first

SAME_MM = 1e-4
"""Distances of slices that differ by less are one."""


@dataclass(frozen=True)
class Options:
    """How to slice.

    Attributes:
        channel: The channel to write, counted from 1; None: the first, and what is left out is told.
        slice_mm: Take only scans of this distance of slices.
        rescale: Round voxels that no PNG holds to 65,536 steps.
    """

    channel: int | None = None
    slice_mm: float | None = None
    rescale: bool = False


class Entry(NamedTuple):
    """What is kept of a written scan: its line of the mapping, its rows, and what was lost.

    `offset` is the voxel that became 0.
    """

    name: str
    mapping: tuple[str, ...]
    rows: list[Row]
    numbers: Sequence[int]
    losses: tuple[str, ...]
    offset: float


@dataclass
class Book:
    """What was written and what is wrong; `distances` are those of slices in mm, with their scans.

    `names` are the raw layout's for those of the scans.
    """

    out: Path
    found: Found
    names: dict[str, str]
    options: Options
    faults: list[str]
    entries: list[Entry] = field(default_factory=list)
    distances: dict[float, list[str]] = field(default_factory=dict)

    def enter(self, scan: RawScan) -> None:
        """Write a scan, or after a fault just see whether it has one too.

        Raises:
            OutputError: the disk is full or the folder can't be written.
        """
        channel, classes = (self.options.channel or 1) - 1, self.found.classes
        name, rescale = self.names[scan.name], self.options.rescale
        try:
            image = image_of(scan, channel, classes)
            if not self._takes(scan, Grid.over(image, None).oriented_mm[2]):
                return
            read = upright(scan, image, name=name, classes=classes, rescale=rescale)
        except UserError as error:
            self.faults.append(str(error))
            return
        if not self.faults and not self._are_mixed:
            read.write(self.out)
            self.entries.append(_entry(read, self.found.channels[channel], classes))

    def close(self) -> None:
        """See that all is well.

        Raises:
            UserError: the faults of all scans, or distances of slices that one raw dataset can't have.
        """
        if self._are_mixed:
            options = " or ".join(f"--slice-mm {_text(one)}" for one in self.distances)
            self.faults.append(
                f"slices are {self._told()} apart, but a raw dataset is read with one distance; "
                f"pass {options}, each with a folder of its own"
            )
        if not self.faults and not self.entries:
            asked = self.options.slice_mm
            told = f"--slice-mm {asked:g}: slices are {self._told()} apart" if asked else "no scans"
            self.faults.append(f"{told}; name a dataset or a distance that has some")
        if self.faults:
            raise UserError.of(first(self.faults, "scans with faults"))

    def left_out(self) -> list[str]:
        """The scans of other distances of slices than asked for."""
        asked = self.options.slice_mm
        others = [names for mm, names in self.distances.items() if asked and not _same(asked, mm)]
        return [name for names in others for name in names]

    def reading(self, bad_scans: Sequence[str]) -> list[str]:
        """What `prepare` has to be told to read this as it was, beside the folder."""
        excluded = {self.names[name] for name in self.found.bad_scans}.difference(bad_scans)
        written = [entry.name for entry in self.entries if entry.name in excluded]
        gaps = any(slice_files.gaps(entry.numbers) for entry in self.entries)
        slice_mm = next(mm for mm in self.distances if _same(self.options.slice_mm or mm, mm))
        words = ["--slice-mm", _text(slice_mm)]
        words += ["--allow-gaps"] if gaps else []
        return words + (["--exclude", *written] if written else [])

    @property
    def _are_mixed(self) -> bool:
        return self.options.slice_mm is None and len(self.distances) > 1

    def _takes(self, scan: RawScan, slice_mm: float) -> bool:
        known = (one for one in self.distances if _same(one, slice_mm))
        self.distances.setdefault(next(known, slice_mm), []).append(scan.name)
        return _same(self.options.slice_mm or slice_mm, slice_mm)

    def _told(self) -> str:
        kinds = [
            f"{_text(mm)} mm ({', '.join(first(names, 'scans'))})"
            for mm, names in self.distances.items()
        ]
        return ", ".join(first(kinds, "distances"))


def _entry(read: Upright, channel: str, classes: Sequence[str]) -> Entry:
    scan, (scale, offset) = read.scan, (read.grey.scale, read.grey.offset)
    own = (scan.name, scan.case, str(scan.day), scan.source.as_posix(), channel)
    return Entry(
        name=read.name,
        mapping=(read.name, *own, _number(scale), _number(offset)),
        rows=read.rows(classes),
        numbers=read.numbers,
        losses=tuple(read.losses()),
        offset=offset,
    )


def _number(value: float) -> str:
    """All digits, and no `.0` behind a whole number."""
    return repr(value).removesuffix(".0")


def _text(slice_mm: float) -> str:
    return millimetres(slice_mm, decimals=0)


def _same(one: float, other: float) -> bool:
    return abs(one - other) <= SAME_MM
