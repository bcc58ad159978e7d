"""A dataset of a few voxels that a network of a few weights learns in seconds."""

from pathlib import Path

import numpy as np

from volseg.config.config import Config, validate_values
from volseg.data.dataset import Dataset, DatasetInfo, Sample
from volseg.data.image_identity import image_hash
from volseg.data.volume import Volume, stack_affine
from volseg.data.volume_files import write_volume
from volseg.preparation.fingerprint import measure_scan
from volseg.preparation.records import ScanRecord

CLASSES = ("large_bowel", "stomach")
SHAPE = (20, 16, 10)
AFFINE = stack_affine((1.5, 1.5), 3.0)


def write(folder: Path, *, cases: int = 6, days: int = 3, exclusive: bool = False) -> Dataset:
    """Cases 1..n with a bright and a dark box on grey, as volumes and dataset.json.

    The boxes of exclusive classes touch.
    """
    lefts = (2, 8) if exclusive else (2, 11)
    samples = [_scan(folder, case, day, lefts=lefts) for case in range(1, cases + 1) for day in range(days)]
    facts = DatasetInfo(
        name="tiny",
        layout="gi-tract",
        classes=CLASSES,
        exclusive=exclusive,
        channels=("mr",),
        samples=tuple(samples),
    )
    dataset = Dataset(folder, facts)
    dataset.save()
    return dataset


def _scan(folder: Path, case: int, day: int, *, lefts: tuple[int, int]) -> Sample:
    name = f"case{case}_day{day}"
    rng = np.random.default_rng([case, day])
    image = rng.normal(500, 20, SHAPE)
    taken = np.zeros(SHAPE, bool)
    for organ, value, left in zip(CLASSES, (900, 150), lefts, strict=True):
        mask = np.zeros(SHAPE, bool)
        x, y, z = left + rng.integers(0, 2), 3 + rng.integers(0, 4), 2 + rng.integers(0, 2)
        mask[x : x + 6, y : y + 7, z : z + 4] = True
        mask &= ~taken
        taken |= mask
        image[mask] = rng.normal(value, 20, mask.sum())
        write_volume(Volume(mask.astype(np.uint8), AFFINE), folder / f"labels/{name}/{organ}.nii.gz")
    stored = Volume(image.astype(np.uint16), AFFINE)
    write_volume(stored, folder / f"images/{name}.nii.gz")
    return Sample(
        case=f"case{case}",
        day=day,
        name=name,
        part="train",
        source=name,
        images=(f"images/{name}.nii.gz",),
        labels={organ: f"labels/{name}/{organ}.nii.gz" for organ in CLASSES},
        shape=SHAPE,
        spacing_mm=(1.5, 1.5, 3.0),
        slices=tuple(range(1, SHAPE[2] + 1)),
        image_hash=image_hash([stored]),
    )


def record(dataset: Dataset) -> None:
    """Leave beside each scan what `volseg prepare` would have measured."""
    for sample in dataset.samples:
        image = dataset.image(sample)
        masks = sample.labels and {name: dataset.label(sample, name) for name in dataset.classes}
        found = measure_scan([image], masks, exclusive=dataset.facts.exclusive)
        ScanRecord(key="", sample=sample, files={}, fingerprint=found).write(dataset.folder)


def config(**sections: dict) -> Config:
    """A run of a few seconds; sections replace these defaults."""
    values = {
        "network": {"name": "unet", "channels": [8, 16], "dropout": 0.1},
        "optimizer": {"lr": 1e-2},
        "train": {
            "patch": [16, 16, 8], "batch": 2, "steps": 12, "epoch_steps": 4,
            "workers": 0,
        },
    }  # fmt: skip
    for key, section in sections.items():
        if "name" in section:  # another kind of network has other settings
            values.pop(key, None)
    merged = {key: {**values.get(key, {}), **value} for key, value in sections.items()}
    return validate_values({**values, **merged}, "tiny")
