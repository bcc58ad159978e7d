"""The grid and the scaling of intensities that suit a dataset, by nnU-Net's rules (Isensee et al. 2021).

They are read off what `volseg prepare` measured; only a CT's window needs voxels.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from volseg.data.dataset import Dataset
from volseg.data.preprocessing.intensity_scaling import Window
from volseg.errors import UserError
from volseg.schema import Spacing
from volseg.stats.dataset_stats import DatasetStats
from volseg.stats.scan_stats import ScanStats

COARSE = 3.0
"""From this ratio of spacings (and of voxels) on, one axis is much coarser than the others."""
AIR_HU = -500.0
"""No MR scan has such low values; in a CT, air is near -1000."""
SCANS = 10
"""Scans whose labelled voxels are read for a CT's window."""


@dataclass(frozen=True)
class TargetGrid:
    """The network's grid: voxels in mm, the median scan's shape on it, and why it is this one."""

    spacing_mm: Spacing
    shape: tuple[int, int, int]
    reason: str


def trainable_scans(found: DatasetStats) -> list[ScanStats]:
    """The scans that can be trained on.

    Raises:
        UserError: there are none.
    """
    scans = [scan for scan in found.scans if scan.in_class_stats and scan.part == "train"]
    if not scans:
        count = len(found.scans)
        raise UserError(
            f"{found.name}: none of its {count} scan{'s' * (count > 1)} has labels to train on; "
            "prepare a source with train.csv or label maps"
        )
    return scans


def choose_grid(scans: Sequence[ScanStats]) -> TargetGrid:
    """The median spacing; where one axis is much coarser, the 10th percentile of its spacings.

    Then scans with thinner slices lose less of what they show.
    """
    spacings = np.array([[scan.spacing_mm[axis] for axis in scan.axis_order] for scan in scans])
    shapes = np.array([[scan.shape[axis] for axis in scan.axis_order] for scan in scans])
    chosen, voxels = np.median(spacings, axis=0), np.median(shapes, axis=0)
    many = f"{len(scans)} scan{'s' * (len(scans) > 1)}"
    reason = f"median of {many}"
    worst = int(chosen.argmax())
    others = [axis for axis in range(3) if axis != worst]
    if chosen[worst] >= COARSE * chosen[others].max() and (COARSE * voxels[worst] <= voxels[others].min()):
        tenth = np.percentile(spacings[:, worst], 10)
        reason = (
            f"median of {many}; of the much coarser {'xyz'[worst]} ({chosen[worst]:g} mm) the 10th percentile"
        )
        chosen[worst] = max(tenth, chosen[others].max())
    x, y, z = (float(f"{mm:.4g}") for mm in chosen)
    sizes = np.median(shapes * spacings / (x, y, z), axis=0)
    i, j, k = (max(1, round(size)) for size in sizes.tolist())
    return TargetGrid((x, y, z), (i, j, k), reason)


def is_ct(found: DatasetStats) -> bool:
    """Whether all channels are CT: by their names, or by values that only air in a CT has."""
    return all(
        re.search(r"(^|[^a-z])ct([^a-z]|$)", name.lower()) or channel.levels["low"].median < AIR_HU
        for name, channel in found.intensities.items()
    )


def ct_window(dataset: Dataset, scans: Sequence[ScanStats]) -> tuple[Window, str] | None:
    """The 0.5 and 99.5 percentiles of labelled voxels, and what they are of; None without any."""
    step = max(1, len(scans) // SCANS)
    chosen = [dataset.select_samples(scan.name)[0] for scan in scans[::step][:SCANS]]
    labelled = [
        channel.voxels[dataset.labels(sample).any(axis=0)]
        for sample in chosen
        for channel in dataset.channels(sample)
    ]
    values = np.concatenate(labelled).astype(np.float64)
    if not values.size or values.min() == values.max():
        return None
    low, high = np.percentile(values, (0.5, 99.5)).tolist()
    many = f"{len(chosen)} scan{'s' * (len(chosen) > 1)}"
    window = Window(low=float(f"{low:.4g}"), high=float(f"{high:.4g}"))
    return window, f"CT: 0.5 and 99.5 percentile of the labelled voxels of {many}"
