"""A predicted scan as arrays: its masks, and its image and labels where the dataset has them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from volseg.arguments import MaskOptions
from volseg.data.dataset import Dataset
from volseg.data.mask_files import MaskReader, read_grid
from volseg.data.volume import Array, Volume
from volseg.errors import UserError
from volseg.inference.image_source import ImageSource
from volseg.inference.prediction_folder import Prediction, source_slice_numbers

SliceRanges = Sequence[tuple[int, int]]
"""The first and last slice of each range, by the slices' numbers."""


@dataclass(frozen=True)
class ScanImages:
    """A scan on one grid: masks bool (C, X, Y, Z) of the prediction and of the labels, and its image.

    `no_image` says why there is none.
    `numbers` are the source numbers of the slices, empty where it came from a volume.
    `check` are ranges of them to look at first, `must_show` others that must be shown.
    """

    prediction: Array
    labels: Array | None
    geometry: Volume
    image: Volume | None = None
    numbers: Sequence[int] = ()
    check: SliceRanges = ()
    must_show: SliceRanges = ()
    no_image: str = ""


def load_scan_images(
    record: Prediction, dataset: Dataset | None, classes: Sequence[str], options: MaskOptions
) -> ScanImages:
    """A scan's masks by class, empty for a class that it was not predicted for.

    The image is the dataset's, else that of the files that it was predicted from. Labels that are known to be
    bad are left out.

    Raises:
        UserError: files that are missing or damaged, or masks that do not fit the image.
    """
    sample = dataset.find_sample(record.identity) if dataset else None
    image, labels, no_image = None, None, ""
    if dataset and sample:
        geometry, numbers = dataset.image(sample), sample.slices
        image = geometry
        if sample.labels is not None and not sample.excluded:
            by_class = {name: dataset.label(sample, name) for name in dataset.classes}
            labels = _stack_masks(by_class, image, classes)
    else:
        geometry = read_grid(record.mask_file(record.classes[0]).path)
        numbers = source_slice_numbers(record)
        numbers = numbers if len(numbers) == geometry.voxels.shape[2] else ()
        try:
            image = ImageSource(record, dataset, sample).read(geometry)
        except UserError as error:
            no_image = str(error)
    reader = MaskReader(geometry, options)
    masks = {name: reader.read(record.mask_file(name)) for name in record.classes}
    prediction = _stack_masks(masks, geometry, classes)
    ranges = [ends for confidence in record.confidence.values() for ends in confidence.slices]
    return ScanImages(prediction, labels, geometry, image, numbers, record.check, ranges, no_image)


def _stack_masks(masks: Mapping[str, Array], geometry: Volume, classes: Sequence[str]) -> Array:
    """Bool (C, X, Y, Z)."""
    empty = np.zeros(geometry.voxels.shape, bool)
    return np.stack([masks.get(name, empty) for name in classes])
