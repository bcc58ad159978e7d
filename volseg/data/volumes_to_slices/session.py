"""The written scans of a dataset and the faults of its scans, one after the other."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from volseg.data.layouts import RawDataset
from volseg.data.layouts.gi_tract import slice_files
from volseg.data.layouts.gi_tract.rle_csv import RleRow
from volseg.data.layouts.gi_tract.slice_files import format_millimetres
from volseg.data.layouts.raw_dataset import RawScan
from volseg.data.preprocessing.grid import NetworkGrid
from volseg.data.volumes_to_slices.oriented_scan import OrientedScan, orient_scan, read_channel
from volseg.errors import UserError
from volseg.formatting import first_few

SAME_MM = 1e-4  # distances of slices that differ by less are equal


@dataclass(frozen=True)
class SlicingOptions:
    """The options of slicing.

    `channel` counts from 1, by default the first with a warning of the others; `slice_mm` takes only scans of
    this distance of slices; `rescale` rounds voxels that no PNG holds to 65,536 steps.
    """

    channel: int | None = None
    slice_mm: float | None = None
    rescale: bool = False


class SlicedScan(NamedTuple):
    """A written scan: its line of the mapping, its rows and losses; `offset` is the value that became 0."""

    name: str
    mapping: tuple[str, ...]
    rows: list[RleRow]
    numbers: Sequence[int]
    losses: tuple[str, ...]
    offset: float


@dataclass
class SlicingSession:
    """Entries and faults so far; `distances` are those of slices in mm, with the names of their scans.

    `names` has each scan's name in the raw layout.
    """

    out: Path
    raw_dataset: RawDataset
    names: dict[str, str]
    options: SlicingOptions
    faults: list[str]
    entries: list[SlicedScan] = field(default_factory=list)
    distances: dict[float, list[str]] = field(default_factory=dict)

    def add_scan(self, scan: RawScan) -> None:
        """Write a scan, or after a fault only check it."""
        channel, classes = (self.options.channel or 1) - 1, self.raw_dataset.classes
        name, rescale = self.names[scan.name], self.options.rescale
        try:
            image = read_channel(scan, channel, classes)
            if not self._accepts_distance(scan, NetworkGrid.from_volume(image, None).oriented_mm[2]):
                return
            oriented = orient_scan(scan, image, name=name, classes=classes, rescale=rescale)
        except UserError as error:
            self.faults.append(str(error))
            return
        if not self.faults and not self._has_mixed_distances:
            oriented.write_pngs(self.out)
            self.entries.append(_sliced_scan(oriented, self.raw_dataset.channels[channel], classes))

    def check_faults(self) -> None:
        """Check that no scan had a fault and that slices have one distance.

        Raises:
            UserError: the faults of all scans, or distances of slices that one raw dataset can't have.
        """
        if self._has_mixed_distances:
            options = " or ".join(f"--slice-mm {_format_mm(slice_mm)}" for slice_mm in self.distances)
            self.faults.append(
                f"slices are {self._distances_text()} apart, but a raw dataset is read with one distance; "
                f"pass {options}, each with a folder of its own"
            )
        if not self.faults and not self.entries:
            asked = self.options.slice_mm
            fault = (
                f"--slice-mm {asked:g}: slices are {self._distances_text()} apart" if asked else "no scans"
            )
            self.faults.append(f"{fault}; name a dataset or a distance that has some")
        if self.faults:
            raise UserError.from_problems(first_few(self.faults, "scans with faults"))

    def left_out_scans(self) -> list[str]:
        """The scans of other distances of slices than asked for."""
        asked = self.options.slice_mm
        others = [names for mm, names in self.distances.items() if asked and not _same_distance(asked, mm)]
        return [name for names in others for name in names]

    def prepare_arguments(self, bad_scans: Sequence[str]) -> list[str]:
        """The arguments, beside the folder, by which `prepare` reads the dataset as it was."""
        excluded = {self.names[name] for name in self.raw_dataset.bad_scans}.difference(bad_scans)
        written = [entry.name for entry in self.entries if entry.name in excluded]
        gaps = any(slice_files.describe_gaps(entry.numbers) for entry in self.entries)
        slice_mm = next(mm for mm in self.distances if _same_distance(self.options.slice_mm or mm, mm))
        words = ["--slice-mm", _format_mm(slice_mm), *(["--allow-gaps"] if gaps else [])]
        return words + (["--exclude", *written] if written else [])

    @property
    def _has_mixed_distances(self) -> bool:
        return self.options.slice_mm is None and len(self.distances) > 1

    def _accepts_distance(self, scan: RawScan, slice_mm: float) -> bool:
        known = (mm for mm in self.distances if _same_distance(mm, slice_mm))
        self.distances.setdefault(next(known, slice_mm), []).append(scan.name)
        return _same_distance(self.options.slice_mm or slice_mm, slice_mm)

    def _distances_text(self) -> str:
        kinds = [
            f"{_format_mm(mm)} mm ({', '.join(first_few(names, 'scans'))})"
            for mm, names in self.distances.items()
        ]
        return ", ".join(first_few(kinds, "distances"))


def _sliced_scan(oriented: OrientedScan, channel: str, classes: Sequence[str]) -> SlicedScan:
    scan, (scale, offset) = oriented.scan, (oriented.grey.scale, oriented.grey.offset)
    source = (scan.name, scan.case, str(scan.day), scan.source.as_posix(), channel)
    return SlicedScan(
        name=oriented.name,
        mapping=(oriented.name, *source, _format_exact(scale), _format_exact(offset)),
        rows=oriented.rle_rows(classes),
        numbers=oriented.numbers,
        losses=tuple(oriented.loss_messages()),
        offset=offset,
    )


def _format_exact(value: float) -> str:
    """All digits, and no `.0` behind a whole number."""
    return repr(value).removesuffix(".0")


def _format_mm(slice_mm: float) -> str:
    return format_millimetres(slice_mm, decimals=0)


def _same_distance(slice_mm: float, other_mm: float) -> bool:
    return abs(slice_mm - other_mm) <= SAME_MM
