"""A folder of predictions as `volseg infer` leaves it, without a network."""

import json
from pathlib import Path

import numpy as np

from tests.tiny import AFFINE, CLASSES
from volseg.data.dataset import Dataset
from volseg.data.layouts.gi_tract import rle_csv
from volseg.data.volume import Volume
from volseg.data.volume_files import write_volume
from volseg.system.files import file_sha256


def write(folder: Path, dataset: Dataset, scan: str, **told) -> Path:
    """Predict the truth of a scan of `tiny`, or `masks` (C, X, Y, Z); `seen="none"` and so on."""
    sample = dataset.select_samples(scan)[0]
    masks = told.pop("masks", None)
    masks = dataset.labels(sample) if masks is None else masks
    for name, mask in zip(CLASSES, masks, strict=True):
        write_volume(Volume(mask.astype(np.uint8), AFFINE), folder / scan / f"{name}.nii.gz")
    rows = rle_csv.scan_rows(scan, sample.slices, classes=CLASSES, masks=masks.astype(bool))
    rle_csv.write(folder / scan / "rle.csv", rows)
    files = {path.name: file_sha256(path) for path in (folder / scan).iterdir() if path.name != "record.json"}
    record(folder, scan, **{"files": files, **told})
    return folder / scan


def record(folder: Path, scan: str, /, **told) -> None:
    """Only the record of a scan."""
    values = {
        "scan": scan,
        "status": "done",
        "reason": "",
        "run": "tiny",
        "classes": CLASSES,
        "fold_set": "other",
        "seen": "none",
        **told,
    }
    (folder / scan).mkdir(parents=True, exist_ok=True)
    (folder / scan / "record.json").write_text(json.dumps(values))
