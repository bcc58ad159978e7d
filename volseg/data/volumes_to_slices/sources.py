"""Datasets that can be sliced: prepared ones, and whatever the layout `nifti` reads."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from volseg.data import dataset, volume_files
from volseg.data.dataset import Dataset, Sample
from volseg.data.layouts import Nifti, RawDataset
from volseg.data.layouts.findings import Finding
from volseg.data.layouts.raw_dataset import Masks, Part, file_stamps
from volseg.data.volume import Volume
from volseg.errors import UserError


@dataclass(frozen=True)
class PreparedScan:
    """A scan of a prepared dataset, read as if it were a raw one."""

    dataset: Dataset
    sample: Sample

    @property
    def case(self) -> str:
        """The patient."""
        return self.sample.case

    @property
    def day(self) -> int:
        """The day of treatment, or 0."""
        return self.sample.day

    @property
    def name(self) -> str:
        """The scan's name."""
        return self.sample.name

    @property
    def part(self) -> Part:
        """Whether it belongs to the training or the test part."""
        return self.sample.part

    @property
    def source(self) -> Path:
        """The first channel's file."""
        return self.dataset.folder / self.sample.images[0]

    @property
    def numbers(self) -> tuple[int, ...]:
        """The source numbers of its slices."""
        return self.sample.slices

    @property
    def files(self) -> tuple[Path, ...]:
        """Images and labels."""
        names = [*self.sample.images, *(self.sample.labels or {}).values()]
        return tuple(self.dataset.folder / name for name in names)

    @property
    def stamp(self) -> tuple[str, ...]:
        """Its files with size and time."""
        return file_stamps(self.files, self.dataset.folder)

    def channels(self) -> list[Volume]:
        """The image, a volume a channel.

        Raises:
            UserError: missing or damaged files.
        """
        return [volume_files.read(self.dataset.folder / file) for file in self.sample.images]

    def labels(self, classes: Sequence[str], image: Volume | None) -> Masks | None:
        """The truth, a bool mask (X, Y, Z) a class, or None without any.

        Raises:
            UserError: missing or damaged files, or another grid than the image's.
        """
        if self.sample.labels is None:
            return None
        masks, problems = {}, []
        for organ in classes:
            path = self.dataset.folder / self.sample.labels[organ]
            try:
                label = volume_files.read(path)
            except UserError as error:
                problems.append(str(error))
                continue
            if image is not None and not label.same_grid(image):
                problems.append(f"{path}: lies on another grid than {self.source}; prepare it again")
            masks[organ] = label.voxels.astype(bool, copy=False)
        if problems:
            raise UserError.from_problems(problems)
        return masks

    def remarks(self) -> list[Finding]:
        """Nothing; `prepare` told it."""
        return []


def find_raw_dataset(root: Path) -> RawDataset:
    """The scans of a prepared dataset, or of a folder or file that the layout `nifti` reads.

    `bad_scans` are those that the dataset flags as excluded.

    Raises:
        UserError: neither.
    """
    folder = root.parent if root.name == dataset.FILE else root
    if not _is_prepared(folder / dataset.FILE):
        return Nifti().scans(root)
    read = Dataset.load(folder)
    return RawDataset(
        classes=read.classes,
        channels=read.facts.channels,
        exclusive=read.facts.exclusive,
        scans=tuple(PreparedScan(read, sample) for sample in read.samples),
        bad_scans=tuple(sample.name for sample in read.samples if sample.excluded),
    )


def _is_prepared(path: Path) -> bool:
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False  # what it is instead is told by who reads it
    return isinstance(told, dict) and "samples" in told
