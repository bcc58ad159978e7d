"""A tiny dataset whose files have their axes in another order; everything lies where it lay."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from volseg.data import volume_files
from volseg.data.dataset import Dataset
from volseg.data.volume import Volume
from volseg.data.volume_files import write_volume


def turn_file(path: Path, axes: Sequence[int]) -> None:
    """Write a volume again with its axes in this order."""
    volume = volume_files.read(path)
    write_volume(Volume(volume.voxels.transpose(axes), volume.affine[:, [*axes, 3]]), path)


def turn_dataset(dataset: Dataset, axes: Sequence[int]) -> Dataset:
    """The dataset with all its files turned."""
    samples = []
    for sample in dataset.samples:
        for name in (*sample.images, *(sample.labels or {}).values()):
            turn_file(dataset.folder / name, axes)
        size, mm = np.array(sample.shape)[list(axes)], np.array(sample.spacing_mm)[list(axes)]
        fields = {"shape": tuple(size.tolist()), "spacing_mm": tuple(mm.tolist()), "slices": ()}
        samples.append(sample.model_copy(update=fields))
    turned = Dataset(dataset.folder, dataset.facts.model_copy(update={"samples": tuple(samples)}))
    turned.save()
    return turned
