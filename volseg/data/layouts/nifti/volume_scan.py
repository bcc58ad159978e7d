"""One raw scan that lies on disk as volumes already: an image a channel and a map of integer labels."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from volseg.data import volume_files
from volseg.data.layouts.findings import Finding
from volseg.data.layouts.raw_dataset import Mask, Part, file_stamps
from volseg.data.volume import Array, Volume
from volseg.errors import UserError
from volseg.formatting import first_few

ClassValues = tuple[tuple[str, tuple[int, ...]], ...]
"""Each class and the label values that belong to it: one, or several for a region."""
BEYOND = 1e30  # no scanner's value, and its square still is a number
MOST_VALUES = 65_536  # a map with a wider range is an image, not a map of labels


@dataclass(frozen=True)
class LabelMap(Mapping[str, Mask]):
    """A map of integers (X, Y, Z) as one mask a class, made when it is asked for."""

    voxels: Array
    meaning: ClassValues

    def __getitem__(self, name: str) -> Mask:
        """The mask of one class, bool (X, Y, Z)."""
        wanted = dict(self.meaning)[name]
        mask: Mask = self.voxels == wanted[0]
        for value in wanted[1:]:
            mask |= self.voxels == value
        return mask

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self.meaning))

    def __len__(self) -> int:
        return len(self.meaning)


@dataclass(frozen=True)
class VolumeScan:
    """A scan of image files, one or more channels in each, and (or None) the file of its labels.

    `channel_names` are those that the dataset states; `named_in` is the file that states them.
    """

    case: str
    day: int
    name: str
    part: Part
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
    def numbers(self) -> tuple[int, ...]:
        """None: it did not come from slices."""
        return ()

    @property
    def files(self) -> tuple[Path, ...]:
        """Images and label."""
        return (*self.images, *([self.label] if self.label else []))

    @property
    def stamp(self) -> tuple[str, ...]:
        """Files with size and time, and what their values mean."""
        files = [part for path in self.files for part in (path, *volume_files.detached_files(path))]
        meaning = f"{self.values if self.label else 'no label'} {self.channel_names}"
        return (*file_stamps(files, self.named_in.parent), meaning)

    def channels(self) -> list[Volume]:
        """The image on its own grid, a volume a channel.

        Raises:
            UserError: files that are damaged or hold NaN, another number of channels than stated, or
                channels on different grids; all of them.
        """
        found: list[tuple[Path, Volume]] = []
        problems: list[str] = []
        for path in self.images:
            try:
                channels = volume_files.read_channels(path)
                problems += _not_finite(path, channels)
                found += [(path, channel) for channel in channels]
            except UserError as error:
                problems.append(str(error))
        if not problems and len(found) != len(self.channel_names):
            problems.append(
                f"{self.source}: {len(found)} channels; "
                f"{self.named_in} names {len(self.channel_names)}: {', '.join(self.channel_names)}"
            )
        for path, channel in found[1:]:
            if not channel.same_grid(found[0][1]):
                problems.append(_grid_mismatch(path, channel, self.source, found[0][1]))
        if problems:
            raise UserError.from_problems(problems)
        return [channel for _, channel in found]

    def labels(self, classes: Sequence[str], image: Volume | None) -> LabelMap | None:
        """The truth on the image's grid, a mask a class; None without a file of labels.

        Raises:
            UserError: a damaged file, values that are no whole numbers or that nobody named, or
                another grid than the image's.
        """
        if self.label is None:
            return None
        read = volume_files.read(self.label)
        problems = list(_foreign_values(self.label, read.voxels, self.values, self.named_in))
        if image is not None and not read.same_grid(image):
            problems.append(_grid_mismatch(self.label, read, self.source, image))
        if problems:
            raise UserError.from_problems(problems)
        named = dict(self.values)
        return LabelMap(read.voxels, tuple((name, named[name]) for name in classes))

    def remarks(self) -> list[Finding]:
        """A warning for each thing that is odd in a file's header."""
        return [
            Finding(scan=self.name, severity="warning", kind="header", message=f"{path}: {told}")
            for path in self.files
            for told in volume_files.header_oddities(path)
        ]


def label_values(path: Path) -> list[int]:
    """The label values above 0 in a file; none where it can't be read, which is told later."""
    try:
        voxels = volume_files.read(path).voxels
    except UserError:
        return []
    return [] if _label_map_fault(voxels) else [value for value in _distinct_values(voxels) if value > 0]


def _not_finite(path: Path, channels: Sequence[Volume]) -> Iterator[str]:
    count = sum(
        int((~(np.abs(one.voxels) < BEYOND)).sum()) for one in channels if one.voxels.dtype.kind == "f"
    )
    if count:
        yield (
            f"{path}: {count} voxels are NaN, infinite or beyond {BEYOND:g}; "
            "replace them by the background's value"
        )


def _label_map_fault(voxels: Array) -> str:
    """Why this is no map of integers, or ''."""
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
        return  # what is wrong with the names is told
    known = {0, *(value for _, some in values for value in some)}
    strange = [str(value) for value in _distinct_values(voxels) if value not in known]
    if strange:
        named = ", ".join(f"{'+'.join(map(str, some))} {name}" for name, some in values)
        told = ", ".join(first_few(strange, "values"))
        yield (
            f"{path}: holds the label values {told}, which {named_in} does not name "
            f"(it names 0 background, {named}); name them there"
        )


def _grid_mismatch(path: Path, one: Volume, other_path: Path, other: Volume) -> str:
    """That two files do not lie on one grid, and what each says."""
    return (
        f"{path}: lies on another grid ({_grid_text(one)}) than {other_path} ({_grid_text(other)}); "
        "resample it to that grid"
    )


def _grid_text(one: Volume) -> str:
    rows = ", ".join(f"[{' '.join(f'{n:.6g}' for n in row)}]" for row in one.affine[:3])
    return f"shape {'x'.join(map(str, one.voxels.shape))}, affine {rows}"
