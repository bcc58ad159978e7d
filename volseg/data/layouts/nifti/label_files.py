"""Labels of a volume: a map of integers, or a file a class, as a mask for each class."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from volseg.data import volume_files
from volseg.data.layouts.raw_dataset import Mask
from volseg.data.mask_files import NEARLY, MaskFile, MaskReader
from volseg.data.packed_mask import PackedMask
from volseg.data.volume import Array, Volume, turned_like
from volseg.errors import UserError
from volseg.formatting import first_few

ClassValues = tuple[tuple[str, tuple[int, ...]], ...]  # classes with their label values, several of a region
MOST_VALUES = 65_536  # a map with a wider range is an image, not a map of labels


@dataclass(frozen=True)
class LabelMap(Mapping[str, Mask]):
    """A map of integers (X, Y, Z) as a mask for each class, made when it is asked for.

    `notes` tell how it was read otherwise than it is stored.
    """

    voxels: Array
    meaning: ClassValues
    notes: tuple[str, ...] = ()

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
class MaskPerFile(Mapping[str, Mask]):
    """Masks of one file a class, each made when it is asked for; `notes` as those of a map."""

    masks: dict[str, PackedMask] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Mask:
        """The mask of one class, bool (X, Y, Z)."""
        return self.masks[name].unpack()

    def __iter__(self) -> Iterator[str]:
        return iter(self.masks)

    def __len__(self) -> int:
        return len(self.masks)


def read_masks(files: Mapping[str, Path], classes: Sequence[str], grid: Volume) -> MaskPerFile:
    """The masks of the classes on a grid; only one is read at a time.

    Raises:
        UserError: a class without a file, or files that are no masks on this grid; all of them.
    """
    reader = MaskReader(grid, advice="save it as a mask, 0 and 1, on its image's grid")
    masks, problems = {}, []
    for name in classes:
        try:
            masks[name] = PackedMask.from_mask(reader.read(MaskFile(files[name])))
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError.from_problems(problems)
    return MaskPerFile(masks, tuple(reader.notes))


def read_label_map(
    path: Path,
    values: ClassValues,
    classes: Sequence[str],
    *,
    named_in: Path,
    image: tuple[Path, Volume] | None,
) -> LabelMap:
    """A map of labels on the grid of an image (None: unreadable), its axes turned as the image's.

    Raises:
        UserError: values that are not whole or that nothing names, or another grid; all.
    """
    read = volume_files.read(path)
    voxels, notes = _rounded_labels(path, read.voxels)
    problems = list(_foreign_values(path, voxels, values, named_in))
    read = read.with_voxels(voxels)
    fitting = read if image is None else turned_like(read, image[1])
    if image is not None and fitting is None:
        problems.append(grid_mismatch(path, read, *image))
    if problems:
        raise UserError.from_problems(problems)
    meaning = dict(values)
    return LabelMap((fitting or read).voxels, tuple((name, meaning[name]) for name in classes), notes)


def label_values(path: Path) -> list[int]:
    """The label values above 0 in a file; none of an unreadable file, of which its reader tells."""
    try:
        voxels, _ = _rounded_labels(path, volume_files.read(path).voxels)
    except UserError:
        return []
    return [] if _label_map_fault(voxels) else [value for value in _distinct_values(voxels) if value > 0]


def _rounded_labels(path: Path, voxels: Array) -> tuple[Array, tuple[str, ...]]:
    """Voxels that are nearly whole as whole numbers, with a note; all others as they are."""
    if voxels.dtype.kind != "f" or not np.isfinite(voxels).all():
        return voxels, ()
    away = np.abs(voxels - np.rint(voxels))
    farthest = float(voxels.flat[int(away.argmax())])
    if not 0 < away.max() <= NEARLY:
        return voxels, ()
    return np.rint(voxels), (f"{path}: labels such as {farthest:.7g} are rounded to whole numbers",)


def _label_map_fault(voxels: Array) -> str:
    """The reason why voxels are no map of integers, or ''."""
    if voxels.dtype.kind == "f":
        broken = voxels[voxels != np.floor(voxels)]  # NaN is one
        if broken.size:
            return f"holds {broken.size} values that are no whole numbers, such as {broken[0]:.7g}"
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


def grid_mismatch(path: Path, volume: Volume, reference_path: Path, reference: Volume) -> str:
    """The error of a file on another grid than the reference file, with shape and affine of both."""
    return (
        f"{path}: lies on another grid ({volume.grid_text}) than {reference_path} "
        f"({reference.grid_text}); resample it to that grid"
    )
