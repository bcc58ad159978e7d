"""A predicted scan to be looked at: its masks, and its image and truth where they are there."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from volseg.data import volume_files
from volseg.data.dataset import Dataset, Sample
from volseg.data.layouts.gi_tract import rle_csv
from volseg.data.volume import Array, Volume
from volseg.errors import UserError
from volseg.inference.prediction_folder import Prediction
from volseg.report.page.slice_images import Ranges, Sides

ROWS = "rle.csv"


def sides(record: Prediction, dataset: Dataset | None, classes: Sequence[str]) -> Sides:
    """A scan's masks by class, empty for a class that it was not predicted for.

    Labels that are known to be bad are no truth.

    Raises:
        UserError: files that are missing or damaged, or masks on another grid than the image.
    """
    check, also = record.check, _to_check(record)
    found = {name: volume_files.read(record.mask(name)) for name in record.classes}
    sample = dataset.find(record.scan) if dataset else None
    if dataset is None or sample is None:
        first = record.classes[0]
        _same_grid(found, found[first], record, record.mask(first))
        prediction = _stacked(found, found[first], classes)
        numbers = _numbers(record, prediction.shape[3])
        return Sides(prediction, None, found[first], numbers=numbers, check=check, also=also)
    image = dataset.image(sample)
    _same_grid(found, image, record, dataset.folder / sample.images[0])
    prediction = _stacked(found, image, classes)
    truth = _truth(dataset, sample, image, classes)
    return Sides(prediction, truth, image, image, sample.slices, check, also)


def _to_check(record: Prediction) -> Ranges:
    """Where to look for each organ."""
    return [one for organ in record.confidence.values() for one in organ.slices]


def _numbers(record: Prediction, slices: int) -> list[int]:
    """The slices' source numbers, from the competition's rows; none where it has no rows, or others."""
    path = record.folder / ROWS
    ids = dict.fromkeys(row.id for row in rle_csv.read(path)) if path.is_file() else ()
    told = [one.rpartition("_")[2] for one in ids]
    known = len(told) == slices and all(map(str.isdigit, told))
    return [int(one) for one in told] if known else []


def _truth(dataset: Dataset, sample: Sample, image: Volume, classes: Sequence[str]) -> Array | None:
    if sample.labels is None or sample.excluded:
        return None
    labels = {name: image.with_voxels(dataset.label(sample, name)) for name in dataset.classes}
    return _stacked(labels, image, classes)


def _same_grid(masks: Mapping[str, Volume], place: Volume, record: Prediction, of: Path) -> None:
    for name, mask in masks.items():
        if not mask.same_grid(place):
            raise UserError(
                f"{record.mask(name)}: has another shape or lies elsewhere than {of}; predict it again"
            )


def _stacked(masks: Mapping[str, Volume], place: Volume, classes: Sequence[str]) -> Array:
    """Bool (C, X, Y, Z)."""
    empty = np.zeros(place.voxels.shape, bool)
    return np.stack([masks[name].voxels != 0 if name in masks else empty for name in classes])
