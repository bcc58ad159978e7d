"""A folder of predictions as `volseg infer` leaves it, without a network."""

import json
from pathlib import Path

import numpy as np

from tests.tiny import AFFINE, CLASSES
from volseg.data.dataset import Dataset
from volseg.data.layouts.gi_tract import rle_csv
from volseg.data.volume import Volume
from volseg.data.volume_files import read, write_volume
from volseg.inference.correction_file import ClassCorrection, Correction, corrected_folder, write_correction
from volseg.system.files import atomic_folder, file_sha256


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


def correct(scan: Path, **voxels) -> Correction:
    """Save corrections of a scan's folder as the viewer does: by class the number of voxels that are put in.

    They are the last ones outside a mask; a negative number takes out the first ones of the mask.
    """
    classes, names = {}, json.loads((scan / "record.json").read_text())["classes"]
    with atomic_folder(corrected_folder(scan)) as new:
        for name in names:
            base, file = scan / f"{name}.nii.gz", new / f"{name}.nii.gz"
            volume, count = read(base), voxels.get(name, 0)
            mask = volume.voxels.astype(np.uint8)
            chosen = _chosen(mask, count)
            mask.flat[chosen] = count > 0
            write_volume(volume.with_voxels(mask), file)
            classes[name] = ClassCorrection(
                base=file_sha256(base),
                file=file_sha256(file),
                added_voxels=max(count, 0),
                removed_voxels=max(-count, 0),
                added_ml=max(count, 0) / 10,
                removed_ml=max(-count, 0) / 10,
                added_path_mm=12.0 * bool(count),
                slices=tuple(sorted({int(z) + 1 for z in np.unravel_index(chosen, mask.shape)[2]})),
            )
        correction = Correction(
            scan=scan.name,
            classes=classes,
            looked_at=((1, 2),),
            to_check=3,
            seconds=90.0,
            saved="2026-01-02T10:00:00+00:00",
        )
        write_correction(correction, new)
    return correction


def _chosen(mask: np.ndarray, count: int) -> np.ndarray:
    """The places of the voxels that change."""
    places = np.flatnonzero(mask == (count < 0))
    return places[len(places) - count :] if count > 0 else places[:-count]
