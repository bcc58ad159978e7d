"""A prepared dataset: `dataset.json` and the volumes it names."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from volseg.data import volume_files
from volseg.data.competition import is_of_competition
from volseg.data.image_identity import ScanIdentity
from volseg.data.mask_files import MaskFile, MaskReader, read_grid
from volseg.data.volume import Array, Volume
from volseg.errors import UserError, nearest_hint
from volseg.schema import ClassName, ScanName, Section
from volseg.system.files import write_text
from volseg.system.json_files import read_json

FILE = "dataset.json"


class Sample(Section):
    """A prepared scan. Paths are relative to the dataset's folder.

    `images` has a path a channel, `labels` a path a class, or None without labels; `slices` are the source
    numbers of the slices along Z, empty where the scan did not come from slices. `image_hash` tells its
    image from others (`image_identity`); datasets of earlier versions lack it.
    """

    case: ScanName
    day: int
    name: ScanName
    part: Literal["train", "test"]
    source: str
    images: tuple[str, ...]
    labels: dict[ClassName, str] | None
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    slices: tuple[int, ...] = ()
    excluded: bool = False
    image_hash: str = ""

    @property
    def identity(self) -> ScanIdentity:
        """What tells the scan from others."""
        return ScanIdentity(name=self.name, case=self.case, image=self.image_hash)


class FailedScan(Section):
    """A scan of the source that could not be prepared, why, and its slices as far as names tell them."""

    name: str
    part: Literal["train", "test"]
    reason: str
    slices: tuple[int, ...] = ()


class DatasetInfo(Section):
    """The content of `dataset.json`; classes that are `exclusive` never overlap and share a softmax.

    `failed` are the scans that were left out, and `synthetic` says that a phantom was drawn; datasets of
    earlier versions tell neither.
    """

    name: str
    layout: str
    classes: tuple[ClassName, ...]
    exclusive: bool
    channels: tuple[str, ...]
    samples: tuple[Sample, ...]
    failed: tuple[FailedScan, ...] = ()
    synthetic: bool = False

    @property
    def is_competition(self) -> bool:
        """Whether the competition's score is of these data."""
        return is_of_competition(self.layout, self.classes)


class Dataset:
    """A prepared dataset: its folder, and the content of `dataset.json` as `facts`."""

    def __init__(self, folder: Path, facts: DatasetInfo) -> None:
        self.folder = folder
        self.facts = facts
        self.classes = facts.classes
        self.samples = facts.samples

    @classmethod
    def load(cls, folder: Path | str) -> "Dataset":
        """The dataset of a folder.

        Raises:
            UserError: no `dataset.json`, or not one that `volseg prepare` wrote.
        """
        folder = Path(folder)
        path = folder / FILE
        if not path.is_file():
            others = [str(file.parent) for file in sorted(folder.parent.glob(f"*/{FILE}"))]
            hint = f", or name the one that you mean, such as {others[0]}" if others else ""
            raise UserError(f"{folder}: no {FILE}; make it with `volseg prepare SOURCE --out {folder}`{hint}")
        return cls(folder, read_json(path, DatasetInfo))

    def to_json(self) -> str:
        """The text of `dataset.json`."""
        return self.facts.model_dump_json(indent=1) + "\n"

    def save(self) -> None:
        """Write `dataset.json` atomically."""
        write_text(self.folder / FILE, self.to_json())

    def select_samples(self, name: str) -> tuple[Sample, ...]:
        """All days of a case (`case123`) or one scan (`case123_day20`).

        Raises:
            UserError: neither a case nor a scan of this dataset; names the nearest.
        """
        samples = tuple(sample for sample in self.samples if name in (sample.case, sample.name))
        if not samples:
            known = dict.fromkeys([s.case for s in self.samples] + [s.name for s in self.samples])
            raise UserError(f"{name}: no such case or scan in {self.folder}{nearest_hint(name, known)}")
        return samples

    def find_sample(self, scan: ScanIdentity) -> Sample | None:
        """The scan with this image or, where that of either is unknown, of this name; None without it."""
        same = [sample for sample in self.samples if scan.is_same_scan(sample.identity)]
        return max(same, key=lambda sample: sample.name == scan.name, default=None)

    @property
    def slice_mm(self) -> float | None:
        """The distance of slices, if all scans came from slices of one distance."""
        distances = {round(one.spacing_mm[2], 6) if one.slices else None for one in self.samples}
        return distances.pop() if len(distances) == 1 else None

    def check_files(self, samples: Sequence[Sample]) -> None:
        """Check by their headers that the files of these scans are there and of the stated shape.

        Raises:
            UserError: files that are missing, damaged or of another shape, all of them.
        """
        problems = []
        for sample in samples:
            for path in (self.folder / name for name in (*sample.images, *(sample.labels or {}).values())):
                try:
                    shape = volume_files.read_header(path).shape
                except UserError as error:
                    problems.append(str(error))
                    continue
                if sorted(shape) != sorted(sample.shape):  # turned axes are turned back
                    advice = f"expected {sample.shape}; run `volseg prepare` again"
                    problems.append(f"{path}: shape {shape}; {advice}")
        if problems:
            raise UserError.from_problems(problems)

    def grid_file(self, sample: Sample) -> Path:
        """The file whose header says where a scan lies: its image, or a label where that is gone."""
        files = [self.folder / name for name in (*sample.images, *(sample.labels or {}).values())]
        return next((file for file in files if file.is_file()), files[0])

    def image(self, sample: Sample, channel: int = 0) -> Volume:
        """One channel of a scan on its native grid."""
        return volume_files.read(self.folder / sample.images[channel])

    def channels(self, sample: Sample) -> tuple[Volume, ...]:
        """All channels of a scan on their native grid."""
        return tuple(self.image(sample, number) for number in range(len(sample.images)))

    def label(self, sample: Sample, name: str) -> Array:
        """The labels of one class, bool (X, Y, Z).

        Raises:
            UserError: the scan has no labels, or the file is damaged.
        """
        if sample.labels is None:
            raise UserError(f"{sample.name}: has no labels in {self.folder}")
        reader = MaskReader(read_grid(self.grid_file(sample)))
        return reader.read(MaskFile(self.folder / sample.labels[name]))

    def labels(self, sample: Sample) -> Array:
        """The labels of all classes, bool (C, X, Y, Z)."""
        return np.stack([self.label(sample, name) for name in self.classes])
