"""A predicted scan as arrays has the masks that count, and what of its dataset belongs to it."""

from pathlib import Path

import numpy as np
import pytest

from tests import predicted, tiny
from volseg.arguments import MaskOptions
from volseg.data.dataset import Dataset
from volseg.inference.prediction_folder import load_predictions
from volseg.inference.scan_images import ScanImages, load_scan_images

SCAN = "case1_day0"


@pytest.fixture
def dataset(data: Path) -> Dataset:
    return Dataset.load(data)


@pytest.fixture
def scan(dataset: Dataset, tmp_path: Path) -> Path:
    return predicted.write(tmp_path / "out", dataset, SCAN)


def images(scan: Path, dataset: Dataset | None, *classes: str) -> ScanImages:
    (prediction,) = load_predictions(scan.parent)
    return load_scan_images(prediction, dataset, classes or tiny.CLASSES, MaskOptions())


def test_with_its_dataset_a_scan_has_image_and_labels(scan: Path, dataset: Dataset) -> None:
    sample = dataset.select_samples(SCAN)[0]

    found = images(scan, dataset)

    assert np.array_equal(found.image.voxels, dataset.image(sample).voxels)
    assert np.array_equal(found.labels, found.prediction)
    assert tuple(found.numbers) == tuple(sample.slices)


def test_without_its_dataset_a_scan_has_its_masks_and_the_numbers_of_its_slices(
    scan: Path, dataset: Dataset
) -> None:
    found = images(scan, None)

    assert (found.image, found.labels) == (None, None)
    assert found.no_image.startswith(f"{SCAN}: its record does not name its image")
    assert np.array_equal(found.prediction, dataset.labels(dataset.select_samples(SCAN)[0]))
    assert tuple(found.numbers) == tuple(range(1, tiny.SHAPE[2] + 1))


def test_a_class_that_it_was_not_predicted_for_is_empty(scan: Path) -> None:
    assert images(scan, None, "spleen", "stomach").prediction.any(axis=(1, 2, 3)).tolist() == [False, True]


def test_masks_that_were_corrected_are_those_that_are_shown(scan: Path, dataset: Dataset) -> None:
    predicted.correct(scan, stomach=9)

    found = images(scan, dataset)

    assert (found.prediction != found.labels).sum(axis=(1, 2, 3)).tolist() == [0, 9]
