"""Folders of probability maps as `volseg infer --save-probabilities` leaves them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from volseg.data.dataset import Dataset, Sample
from volseg.data.volume_files import write_volume
from volseg.inference.prediction_folder import PROBABILITY, write_record
from volseg.inference.prediction_record import PredictionRecord


def teach(dataset: Dataset, folder: Path, opinion: Callable[[Sample], np.ndarray], **facts: object) -> Path:
    """A folder of maps of all scans, in 255ths (K, X, Y, Z), as `volseg infer` would leave it."""
    for sample in dataset.samples:
        image = dataset.image(sample)
        for name, levels in zip(dataset.classes, opinion(sample), strict=True):
            path = folder / sample.name / f"{name}{PROBABILITY}"
            write_volume(image.with_voxels(levels.astype(np.uint8)), path, slope=1 / 255)
        record = {"scan": sample.name, "case": sample.case, "status": "done", "seen": "none"}
        record |= {"image_hash": sample.image_hash, "classes": dataset.classes}
        write_record(PredictionRecord(**{**record, **facts}), folder / sample.name)
    return folder


def noise(sample: Sample) -> np.ndarray:
    rng = np.random.default_rng(sum(map(ord, sample.name)))
    return rng.integers(0, 256, (2, *sample.shape))
