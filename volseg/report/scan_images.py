"""A predicted scan as arrays: its masks, and its image and labels where the dataset has them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from volseg.data import volume_files
from volseg.data.dataset import Dataset
from volseg.data.layouts.gi_tract import rle_csv
from volseg.data.volume import Array, Volume
from volseg.errors import UserError
from volseg.inference.prediction_folder import RLE, Prediction
from volseg.report.page.slice_images import ScanImages


def load_scan_images(record: Prediction, dataset: Dataset | None, classes: Sequence[str]) -> ScanImages:
    """A scan's masks by class, empty for a class that it was not predicted for.

    Labels that are known to be bad are left out.

    Raises:
        UserError: files that are missing or damaged, or masks on another grid than the image.
    """
    masks = {name: volume_files.read(record.mask_file(name)) for name in record.classes}
    sample = dataset.find_sample(record.scan) if dataset else None
    image, labels = None, None
    if dataset and sample:
        geometry, numbers = dataset.image(sample), sample.slices
        _check_same_grid(masks, geometry, record, dataset.folder / sample.images[0])
        image = geometry
        if sample.labels is not None and not sample.excluded:
            by_class = {name: dataset.label(sample, name) for name in dataset.classes}
            labels = _stack_masks(by_class, image, classes)
    else:
        geometry = masks[record.classes[0]]
        _check_same_grid(masks, geometry, record, record.mask_file(record.classes[0]))
        numbers = _source_slice_numbers(record, geometry.voxels.shape[2])
    prediction = _stack_masks({name: mask.voxels for name, mask in masks.items()}, geometry, classes)
    ranges = [ends for confidence in record.confidence.values() for ends in confidence.slices]
    return ScanImages(prediction, labels, geometry, image, numbers, record.check, ranges)


def _source_slice_numbers(record: Prediction, slices: int) -> tuple[int, ...]:
    """The slices' source numbers from the competition's rows; none where it has no rows, or others."""
    path = record.folder / RLE
    ids = dict.fromkeys(row.id for row in rle_csv.read(path)) if path.is_file() else ()
    numbers = [id_.rpartition("_")[2] for id_ in ids]
    known = len(numbers) == slices and all(map(str.isdigit, numbers))
    return tuple(map(int, numbers)) if known else ()


def _check_same_grid(masks: Mapping[str, Volume], geometry: Volume, record: Prediction, source: Path) -> None:
    for name, mask in masks.items():
        if not mask.same_grid(geometry):
            raise UserError(
                f"{record.mask_file(name)}: has another shape or lies elsewhere than {source}; predict it "
                "again"
            )


def _stack_masks(masks: Mapping[str, Array], geometry: Volume, classes: Sequence[str]) -> Array:
    """Bool (C, X, Y, Z)."""
    empty = np.zeros(geometry.voxels.shape, bool)
    return np.stack([masks[name] != 0 if name in masks else empty for name in classes])
