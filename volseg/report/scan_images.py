"""A predicted scan to be looked at: its masks, and its image and truth where they are there."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from volseg.data import volume_files
from volseg.data.dataset import Dataset, Sample
from volseg.data.layouts.gi_tract import rle_csv
from volseg.data.volume import Array, Volume
from volseg.errors import UserError
from volseg.inference.prediction_folder import RLE, Prediction
from volseg.report.page.slice_images import ScanImages, SliceRanges


def load_scan_images(record: Prediction, dataset: Dataset | None, classes: Sequence[str]) -> ScanImages:
    """A scan's masks by class, empty for a class that it was not predicted for.

    Labels that are known to be bad are no truth.

    Raises:
        UserError: files that are missing or damaged, or masks on another grid than the image.
    """
    check, also = record.check, _ranges_to_check(record)
    found = {name: volume_files.read(record.mask_file(name)) for name in record.classes}
    sample = dataset.find_sample(record.scan) if dataset else None
    if dataset is None or sample is None:
        first = record.classes[0]
        _check_same_grid(found, found[first], record, record.mask_file(first))
        prediction = _stack_masks(found, found[first], classes)
        numbers = _source_slice_numbers(record, prediction.shape[3])
        return ScanImages(prediction, None, found[first], numbers=numbers, check=check, must_show=also)
    image = dataset.image(sample)
    _check_same_grid(found, image, record, dataset.folder / sample.images[0])
    prediction = _stack_masks(found, image, classes)
    truth = _label_masks(dataset, sample, image, classes)
    return ScanImages(prediction, truth, image, image, sample.slices, check, also)


def _ranges_to_check(record: Prediction) -> SliceRanges:
    """Where to look for each organ."""
    return [one for organ in record.confidence.values() for one in organ.slices]


def _source_slice_numbers(record: Prediction, slices: int) -> list[int]:
    """The slices' source numbers, from the competition's rows; none where it has no rows, or others."""
    path = record.folder / RLE
    ids = dict.fromkeys(row.id for row in rle_csv.read(path)) if path.is_file() else ()
    told = [one.rpartition("_")[2] for one in ids]
    known = len(told) == slices and all(map(str.isdigit, told))
    return [int(one) for one in told] if known else []


def _label_masks(dataset: Dataset, sample: Sample, image: Volume, classes: Sequence[str]) -> Array | None:
    if sample.labels is None or sample.excluded:
        return None
    labels = {name: image.with_voxels(dataset.label(sample, name)) for name in dataset.classes}
    return _stack_masks(labels, image, classes)


def _check_same_grid(masks: Mapping[str, Volume], place: Volume, record: Prediction, of: Path) -> None:
    for name, mask in masks.items():
        if not mask.same_grid(place):
            raise UserError(
                f"{record.mask_file(name)}: has another shape or lies elsewhere than {of}; predict it again"
            )


def _stack_masks(masks: Mapping[str, Volume], place: Volume, classes: Sequence[str]) -> Array:
    """Bool (C, X, Y, Z)."""
    empty = np.zeros(place.voxels.shape, bool)
    return np.stack([masks[name].voxels != 0 if name in masks else empty for name in classes])
