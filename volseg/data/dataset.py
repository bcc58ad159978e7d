"""A prepared dataset: `dataset.json` and the volumes it names."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from volseg.data import volume_files
from volseg.data.volume import Array, Volume
from volseg.errors import UserError, nearest_hint
from volseg.schema import Section
from volseg.system.files import write_text
from volseg.system.json_files import read_json

FILE = "dataset.json"


class Sample(Section):
    """One prepared scan. Paths are relative to the dataset's folder.

    `images` has a path a channel; `labels` a path a class, or None where the scan has no truth;
    `slices` the source number of each slice along Z (empty where it did not come from slices).
    """

    case: str
    day: int
    name: str
    part: Literal["train", "test"]
    source: str
    images: tuple[str, ...]
    labels: dict[str, str] | None
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    slices: tuple[int, ...] = ()
    excluded: bool = False


class DatasetInfo(Section):
    """What `dataset.json` holds.

    `exclusive` says that classes never overlap: they share a softmax instead of a sigmoid each.
    """

    name: str
    layout: str
    classes: tuple[str, ...]
    exclusive: bool
    channels: tuple[str, ...]
    samples: tuple[Sample, ...]


class Dataset:
    """The facts of a prepared dataset and the folder its paths start from."""

    def __init__(self, folder: Path, facts: DatasetInfo) -> None:
        self.folder = folder
        self.facts = facts
        self.classes = facts.classes
        self.samples = facts.samples

    @classmethod
    def load(cls, folder: Path) -> "Dataset":
        """Read `dataset.json`.

        Raises:
            UserError: no such file, or not one that `volseg prepare` wrote.
        """
        path = folder / FILE
        if not path.is_file():
            raise UserError(f"{folder}: no {FILE}; make it with `volseg prepare SOURCE --out {folder}`")
        return cls(folder, read_json(path, DatasetInfo))

    def to_json(self) -> str:
        """What `dataset.json` holds."""
        return self.facts.model_dump_json(indent=1) + "\n"

    def save(self) -> None:
        """Write `dataset.json` atomically."""
        write_text(self.folder / FILE, self.to_json())

    def select_samples(self, name: str) -> tuple[Sample, ...]:
        """All days of a case (`case123`) or one scan (`case123_day20`).

        Raises:
            UserError: neither a case nor a scan of this dataset; names the nearest.
        """
        found = tuple(sample for sample in self.samples if name in (sample.case, sample.name))
        if not found:
            known = dict.fromkeys([s.case for s in self.samples] + [s.name for s in self.samples])
            raise UserError(f"{name}: no such case or scan in {self.folder}{nearest_hint(name, known)}")
        return found

    def find_sample(self, scan: str) -> Sample | None:
        """The scan of this name, if the dataset has it."""
        return next((sample for sample in self.samples if sample.name == scan), None)

    def check_files(self, samples: Sequence[Sample]) -> None:
        """See by their headers that the files of these scans are there and of the stated size.

        Raises:
            UserError: files that are missing, damaged or of another size, all of them.
        """
        problems = []
        for sample in samples:
            for file in (*sample.images, *(sample.labels or {}).values()):
                try:
                    shape = volume_files.read_shape(self.folder / file)
                except UserError as error:
                    problems.append(str(error))
                    continue
                if shape != sample.shape:
                    problems.append(
                        f"{self.folder / file}: shape {shape}; expected {sample.shape}; "
                        "run `volseg prepare` again"
                    )
        if problems:
            raise UserError.from_problems(problems)

    def image(self, sample: Sample, channel: int = 0) -> Volume:
        """One channel of a scan on its native grid."""
        return volume_files.read(self.folder / sample.images[channel])

    def channels(self, sample: Sample) -> tuple[Volume, ...]:
        """All channels of a scan on their native grid."""
        return tuple(self.image(sample, number) for number in range(len(sample.images)))

    def label(self, sample: Sample, name: str) -> Array:
        """The truth of one class, bool (X, Y, Z).

        Raises:
            UserError: the scan has no truth, or the file is damaged.
        """
        if sample.labels is None:
            raise UserError(f"{sample.name}: has no labels in {self.folder}")
        voxels = volume_files.read(self.folder / sample.labels[name]).voxels
        if voxels.shape != sample.shape:
            raise UserError(
                f"{self.folder / sample.labels[name]}: shape {voxels.shape}; expected {sample.shape}"
            )
        return voxels.astype(bool, copy=False)

    def labels(self, sample: Sample) -> Array:
        """The truth of all classes, bool (C, X, Y, Z)."""
        return np.stack([self.label(sample, name) for name in self.classes])
