"""The network's grid and the scaling of intensities for a dataset, by nnU-Net's rules (Isensee et al. 2021).

Both follow from what `volseg prepare` has measured; only the window of a CT needs voxels.
"""

import math
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
"""Ratio of spacings, and of numbers of voxels, from which on an axis is much coarser than the others."""
AIR_HU = -500.0  # a value in HU that no MR scan has; in a CT, air is near -1000
SCANS = 10  # scans whose labelled voxels give the window of a CT
COARSENING = (1.25, 1.6, 2.0, 2.5, 3.2)
"""Voxel sizes of coarser grids, as multiples of the finest axis of the first"""
FEWEST = 16  # voxels along each axis that becomes coarser, at least


@dataclass(frozen=True)
class TargetGrid:
    """The network's grid: its spacing in mm, the shape (X, Y, Z) of the median scan on it, and the reason."""

    spacing_mm: Spacing
    shape: tuple[int, int, int]
    reason: str

    @property
    def voxels(self) -> int:
        """Voxels of the median scan."""
        return math.prod(self.shape)

    @property
    def spacing_text(self) -> str:
        """The spacing, e.g. `1.5 x 1.5 x 3`."""
        return " x ".join(f"{mm:g}" for mm in self.spacing_mm)


def trainable_scans(statistics: DatasetStats) -> list[ScanStats]:
    """The labelled scans of the training part.

    Raises:
        UserError: there are none.
    """
    scans = [scan for scan in statistics.scans if scan.in_class_stats and scan.part == "train"]
    if not scans:
        count = len(statistics.scans)
        raise UserError(
            f"{statistics.name}: none of its {count} scan{'s' * (count > 1)} has labels to train on; "
            "prepare a source with train.csv or label maps"
        )
    return scans


def choose_grid(scans: Sequence[ScanStats]) -> TargetGrid:
    """The grid of the median spacing; of an axis that is much coarser, the 10th percentile.

    So scans with thinner slices lose less detail.
    """
    spacings = np.array([[scan.spacing_mm[axis] for axis in scan.axis_order] for scan in scans])
    shapes = np.array([[scan.shape[axis] for axis in scan.axis_order] for scan in scans])
    spacing, voxels = np.median(spacings, axis=0), np.median(shapes, axis=0)
    reason = f"median of {len(scans)} scan{'s' * (len(scans) > 1)}"
    worst = int(spacing.argmax())
    others = [axis for axis in range(3) if axis != worst]
    if spacing[worst] >= COARSE * spacing[others].max() and COARSE * voxels[worst] <= voxels[others].min():
        tenth = np.percentile(spacings[:, worst], 10)
        reason += f"; of the much coarser {'xyz'[worst]} ({spacing[worst]:g} mm) the 10th percentile"
        spacing[worst] = max(tenth, spacing[others].max())
    x, y, z = (float(f"{mm:.4g}") for mm in spacing)
    sizes = np.median(shapes * spacings / (x, y, z), axis=0)
    i, j, k = (max(1, round(size)) for size in sizes.tolist())
    return TargetGrid((x, y, z), (i, j, k), reason)


def coarser_grids(finest: TargetGrid) -> list[TargetGrid]:
    """A grid and coarser ones: its finest axes first, until voxels are cubes, then all.

    No axis becomes finer, and none that becomes coarser has fewer than FEWEST voxels.
    """
    grids = [finest]
    for times in COARSENING:
        least = times * min(finest.spacing_mm)
        x, y, z = (max(mm, float(f"{least:.4g}")) for mm in finest.spacing_mm)
        axes = zip(finest.shape, finest.spacing_mm, (x, y, z), strict=True)
        i, j, k = (max(1, round(n * old / new)) for n, old, new in axes)
        if any(n < FEWEST and n < old for n, old in zip((i, j, k), finest.shape, strict=True)):
            break
        reason = f"voxels of {least:.3g} mm or more where the scans' finest have {min(finest.spacing_mm):g}"
        grids.append(TargetGrid((x, y, z), (i, j, k), reason))
    return grids


def is_ct(statistics: DatasetStats) -> bool:
    """Whether all channels are CT, by their names or by values that only air in a CT has."""
    return all(
        re.search(r"(^|[^a-z])ct([^a-z]|$)", name.lower()) or channel.levels["low"].median < AIR_HU
        for name, channel in statistics.intensities.items()
    )


def ct_window(dataset: Dataset, scans: Sequence[ScanStats]) -> tuple[Window, str] | None:
    """The window between the 0.5 and 99.5 percentiles of labelled voxels, and its reason; None: no labels."""
    step = max(1, len(scans) // SCANS)
    samples = [dataset.select_samples(scan.name)[0] for scan in scans[::step][:SCANS]]
    labelled = [
        channel.voxels[dataset.labels(sample).any(axis=0)]
        for sample in samples
        for channel in dataset.channels(sample)
    ]
    values = np.concatenate(labelled).astype(np.float64)
    if not values.size or values.min() == values.max():
        return None
    low, high = np.percentile(values, (0.5, 99.5)).tolist()
    window = Window(low=float(f"{low:.4g}"), high=float(f"{high:.4g}"))
    count = f"{len(samples)} scan{'s' * (len(samples) > 1)}"
    return window, f"CT: 0.5 and 99.5 percentile of the labelled voxels of {count}"
