"""A raw scan of volumes: image files of one or more channels, and a map of integer labels."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from volseg.data import volume_files
from volseg.data.layouts.findings import Finding
from volseg.data.layouts.raw_dataset import Mask, RawScan, file_stamps
from volseg.data.volume import Array, Volume, turned_like
from volseg.errors import UserError
from volseg.formatting import first_few

ClassValues = tuple[tuple[str, tuple[int, ...]], ...]  # classes with their label values, several of a region
BEYOND = 1e30  # no scanner's value, and its square still is a number
MOST_VALUES = 65_536  # a map with a wider range is an image, not a map of labels


@dataclass(frozen=True)
class LabelMap(Mapping[str, Mask]):
    """A map of integers (X, Y, Z) as a mask for each class, made when it is asked for."""

    voxels: Array
    meaning: ClassValues

    def __getitem__(self, name: str) -> Mask:
        """The mask of one class, bool (X, Y, Z)."""
        first, *others = dict(self.meaning)[name]
        mask: Mask = self.voxels == first
        for value in others:
            mask |= self.voxels == value
        return mask

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self.meaning))

    def __len__(self) -> int:
        return len(self.meaning)


@dataclass(frozen=True)
class VolumeScan(RawScan):
    """A scan of image files with one or more channels each, and the file of its labels or None.

    The file `named_in` states the `channel_names`.
    """

    images: tuple[Path, ...]
    label: Path | None
    values: ClassValues
    channel_names: tuple[str, ...]
    named_in: Path

    @property
    def source(self) -> Path:
        """The first image."""
        return self.images[0]

    @property
    def files(self) -> tuple[Path, ...]:
        """Images and labels."""
        return (*self.images, *([self.label] if self.label else []))

    @property
    def stamp(self) -> tuple[str, ...]:
        """Files with size and time, and the meaning of their values."""
        files = [part for path in self.files for part in (path, *volume_files.detached_files(path))]
        meaning = f"{self.values if self.label else 'no label'} {self.channel_names}"
        return (*file_stamps(files, self.named_in.parent), meaning)

    def channels(self) -> list[Volume]:
        """The image, a volume a channel: as many as stated, on one grid, without NaN."""
        read: list[tuple[Path, Volume]] = []
        problems: list[str] = []
        for path in self.images:
            try:
                channels = volume_files.read_channels(path)
                problems += _not_finite(path, channels)
                read += [(path, channel) for channel in channels]
            except UserError as error:
                problems.append(str(error))
        if not problems and len(read) != len(self.channel_names):
            problems.append(
                f"{self.source}: {len(read)} channels; "
                f"{self.named_in} names {len(self.channel_names)}: {', '.join(self.channel_names)}"
            )
        different = [pair for pair in read if not pair[1].same_grid(read[0][1])]
        problems += [_grid_mismatch(*pair, self.source, read[0][1]) for pair in different]
        if problems:
            raise UserError.from_problems(problems)
        return [channel for _, channel in read]

    def labels(self, classes: Sequence[str], image: Volume | None) -> LabelMap | None:
        """Masks of the classes on the image's grid, of whole numbers with a name; None without labels."""
        if self.label is None:
            return None
        read = volume_files.read(self.label)
        problems = list(_foreign_values(self.label, read.voxels, self.values, self.named_in))
        fitting = read if image is None else turned_like(read, image)
        if image is not None and fitting is None:
            problems.append(_grid_mismatch(self.label, read, self.source, image))
        if problems:
            raise UserError.from_problems(problems)
        values = dict(self.values)
        return LabelMap((fitting or read).voxels, tuple((name, values[name]) for name in classes))

    def remarks(self) -> list[Finding]:
        """A warning for each oddity in a file's header."""
        return [
            Finding(scan=self.name, severity="warning", kind="header", message=f"{path}: {oddity}")
            for path in self.files
            for oddity in volume_files.header_oddities(path)
        ]


def label_values(path: Path) -> list[int]:
    """The label values above 0 in a file; none of an unreadable file, of which its reader tells."""
    try:
        voxels = volume_files.read(path).voxels
    except UserError:
        return []
    return [] if _label_map_fault(voxels) else [value for value in _distinct_values(voxels) if value > 0]


def _not_finite(path: Path, channels: Sequence[Volume]) -> Iterator[str]:
    floats = (channel.voxels for channel in channels if channel.voxels.dtype.kind == "f")
    count = sum(int((~(np.abs(voxels) < BEYOND)).sum()) for voxels in floats)
    if count:
        yield (
            f"{path}: {count} voxels are NaN, infinite or beyond {BEYOND:g}; "
            "replace them by the background's value"
        )


def _label_map_fault(voxels: Array) -> str:
    """The reason why voxels are no map of integers, or ''."""
    if voxels.dtype.kind == "f" and not (voxels == np.floor(voxels)).all():  # NaN is not either
        return "holds values that are no whole numbers"
    low, high = voxels.min(), voxels.max()
    if low < 0 or high >= MOST_VALUES:
        return f"holds values from {low:g} to {high:g}"
    return ""


def _distinct_values(voxels: Array) -> list[int]:
    """The values of a map of integers, in order."""
    counts = np.bincount(voxels.astype(np.uint16, copy=False).ravel(order="K"))
    return [int(value) for value in np.flatnonzero(counts)]


def _foreign_values(path: Path, voxels: Array, values: ClassValues, named_in: Path) -> Iterator[str]:
    fault = _label_map_fault(voxels)
    if fault:
        yield f"{path}: {fault}; expected a map of labels, whole numbers from 0"
        return
    if not values:
        return  # the listing's faults are told with it
    known = {0, *(value for _, numbers in values for value in numbers)}
    unknown = [str(value) for value in _distinct_values(voxels) if value not in known]
    if unknown:
        named = ", ".join(f"{'+'.join(map(str, numbers))} {name}" for name, numbers in values)
        yield (
            f"{path}: holds the label values {', '.join(first_few(unknown, 'values'))}, which {named_in} "
            f"does not name (it names 0 background, {named}); name them there"
        )


def _grid_mismatch(path: Path, volume: Volume, reference_path: Path, reference: Volume) -> str:
    """The error of a file on another grid than the reference file, with shape and affine of both."""
    return (
        f"{path}: lies on another grid ({volume.grid_text}) than {reference_path} "
        f"({reference.grid_text}); resample it to that grid"
    )
