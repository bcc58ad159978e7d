"""Datasets that can be written as slices: prepared ones, and those of the layout `nifti`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from volseg.data import dataset, volume_files
from volseg.data.dataset import Dataset, Sample
from volseg.data.layouts import Nifti, RawDataset
from volseg.data.layouts.raw_dataset import Masks, RawScan
from volseg.data.volume import Volume
from volseg.errors import UserError


@dataclass(frozen=True)
class PreparedScan(RawScan):
    """A scan of a prepared dataset, read like a raw one."""

    dataset: Dataset
    sample: Sample

    @classmethod
    def from_sample(cls, dataset: Dataset, sample: Sample) -> "PreparedScan":
        """The scan of a dataset's sample."""
        return cls(sample.case, sample.day, sample.name, sample.part, dataset, sample, numbers=sample.slices)

    @property
    def source(self) -> Path:
        """The first channel's file."""
        return self.files[0]

    @property
    def files(self) -> tuple[Path, ...]:
        """Images and labels."""
        names = [*self.sample.images, *(self.sample.labels or {}).values()]
        return tuple(self.dataset.folder / name for name in names)

    def channels(self) -> tuple[Volume, ...]:
        """The image, a volume a channel."""
        return self.dataset.channels(self.sample)

    def labels(self, classes: Sequence[str], image: Volume | None) -> Masks | None:
        """Masks (X, Y, Z) of the classes, or None without labels."""
        if self.sample.labels is None:
            return None
        masks, problems = {}, []
        for class_name in classes:
            path = self.dataset.folder / self.sample.labels[class_name]
            try:
                label = volume_files.read(path)
            except UserError as error:
                problems.append(str(error))
                continue
            if image is not None and not label.same_grid(image):
                problems.append(f"{path}: lies on another grid than {self.source}; prepare it again")
            masks[class_name] = label.voxels.astype(bool, copy=False)
        if problems:
            raise UserError.from_problems(problems)
        return masks


def find_raw_dataset(root: Path) -> RawDataset:
    """A prepared dataset, whose excluded scans are `bad_scans`, or a folder or file of the layout `nifti`."""
    folder = root.parent if root.name == dataset.FILE else root
    if not _is_prepared(folder / dataset.FILE):
        return Nifti().scans(root)
    read = Dataset.load(folder)
    return RawDataset(
        classes=read.classes,
        channels=read.facts.channels,
        exclusive=read.facts.exclusive,
        scans=tuple(PreparedScan.from_sample(read, sample) for sample in read.samples),
        bad_scans=tuple(sample.name for sample in read.samples if sample.excluded),
    )


def _is_prepared(path: Path) -> bool:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False  # the layout's reader tells what is wrong
    return isinstance(content, dict) and "samples" in content
