"""A raw scan of volumes: image files of one or more channels, and the files of its labels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from volseg.data import volume_files
from volseg.data.layouts.findings import Finding
from volseg.data.layouts.nifti.label_files import (
    ClassValues,
    LabelMap,
    MaskPerFile,
    grid_mismatch,
    read_label_map,
    read_masks,
)
from volseg.data.layouts.raw_dataset import Masks, RawScan, file_stamps
from volseg.data.volume import Volume, turned_like
from volseg.errors import UserError

KEPT = "qform, sform and codes"  # of the image's header: scans that were prepared without are done again
BEYOND = 1e30  # no scanner's value, and its square still is a number


@dataclass(frozen=True)
class VolumeScan(RawScan):
    """A scan of image files with one or more channels each, and a file of labels, or one a class, or none.

    The file `named_in` states the `channel_names`.
    """

    images: tuple[Path, ...]
    label: Path | None
    values: ClassValues
    channel_names: tuple[str, ...]
    named_in: Path
    masks: tuple[tuple[str, Path], ...] = ()

    @property
    def source(self) -> Path:
        """The first image."""
        return self.images[0]

    @property
    def files(self) -> tuple[Path, ...]:
        """Images and labels."""
        return (*self.images, *([self.label] if self.label else []), *(path for _, path in self.masks))

    @property
    def stamp(self) -> tuple[str, ...]:
        """Files with size and time, and the meaning of their values."""
        files = [part for path in self.files for part in (path, *volume_files.detached_files(path))]
        labels = [name for name, _ in self.masks] or (self.values if self.label else "no label")
        meaning = f"{labels} {self.channel_names}"
        return (*file_stamps(files, self.named_in.parent), meaning, KEPT)

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
        fitting = [turned_like(channel, read[0][1]) for _, channel in read]
        different = [pair for pair, fits in zip(read, fitting, strict=True) if fits is None]
        problems += [grid_mismatch(*pair, self.source, read[0][1]) for pair in different]
        if problems:
            raise UserError.from_problems(problems)
        return [channel for channel in fitting if channel]

    def labels(self, classes: Sequence[str], image: Volume | None) -> LabelMap | MaskPerFile | None:
        """Masks of the classes on the image's grid; None without labels."""
        if self.masks:
            grid = volume_files.read(self.masks[0][1]) if image is None else image
            return read_masks(dict(self.masks), classes, grid)
        if self.label is None:
            return None
        source = None if image is None else (self.source, image)
        return read_label_map(self.label, self.values, classes, named_in=self.named_in, image=source)

    def remarks(self, masks: Masks | None = None) -> list[Finding]:
        """A warning for each oddity of a header, a grid, and labels read otherwise than stored."""
        warn = partial(Finding, scan=self.name, severity="warning")
        notes = masks.notes if isinstance(masks, LabelMap | MaskPerFile) else ()
        return [
            *(warn(kind=odd.kind, message=odd.message) for odd in volume_files.scan_oddities(self.files)),
            *(warn(kind="label values", message=note) for note in notes),
        ]


def _not_finite(path: Path, channels: Sequence[Volume]) -> Iterator[str]:
    floats = (channel.voxels for channel in channels if channel.voxels.dtype.kind == "f")
    count = sum(int((~(np.abs(voxels) < BEYOND)).sum()) for voxels in floats)
    if count:
        yield (
            f"{path}: {count} voxels are NaN, infinite or beyond {BEYOND:g}; "
            "replace them by the background's value"
        )
