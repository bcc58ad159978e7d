"""Single patches and labels, as numpy arrays."""

import numpy as np
import torch

from volseg.arrays import IGNORE
from volseg.training.augmentation.patch_frame import PatchFrame
from volseg.training.augmentation.resampling import cut_patch
from volseg.training.loading.loader import TrainingPatches, load_batches
from volseg.training.loading.packed_crop import PackedCrop
from volseg.training.loading.packed_scan import PackedScan

CPU = torch.device("cpu")


def planes(scan: PackedScan) -> np.ndarray:
    """The masks of the classes and of ignored voxels: uint8 (K + 1, X, Y, Z) of 0 and 1."""
    return np.unpackbits(scan.bits, axis=0, bitorder="little")[: scan.class_count + 1]


def labels(scan: PackedScan) -> np.ndarray:
    """The scan's labels (K, X, Y, Z) with 0, 1 or IGNORE."""
    *masks, ignored = planes(scan)
    return np.where(ignored, IGNORE, np.stack(masks))


def cut(scan: PackedScan, frame: PatchFrame) -> tuple[np.ndarray, np.ndarray]:
    """The patch of a frame: image float32 (C, X, Y, Z) and label uint8 (K, X, Y, Z)."""
    image = torch.zeros(len(scan.image), *frame.size)
    label = torch.zeros(scan.class_count, *frame.size, dtype=torch.uint8)
    crop = PackedCrop.from_scan(scan).window(frame.source_box(scan.shape))
    cut_patch(crop, frame, image, label)
    return image.numpy(), label.numpy()


def patch_at(patches: TrainingPatches, position: int) -> dict[str, np.ndarray]:
    """The `image` and `label` of the patch at a position of a run."""
    steps = range(position, position + 1)
    batch = next(iter(load_batches(patches, batch=1, steps=steps, threads=0, device=CPU)))
    return {key: batch[key][0].numpy() for key in ("image", "label")}
