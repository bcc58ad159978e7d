"""The ceiling of a grid: the Dice of labels that went to the network's grid and back, without any training.

A network that gave back its training labels without a mistake would score as much, and no more.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from volseg.arrays import Box, bounding_box
from volseg.data.dataset import Dataset, Sample
from volseg.data.preprocessing.grid import InverseResampling, NetworkGrid
from volseg.data.preprocessing.resampling import apply_matrices, interpolation_matrix, source_range
from volseg.data.volume import Array
from volseg.schema import Spacing
from volseg.system.hardware import available_cores

SCANS, SECONDS = 10, 30.0
"""Scans that the ceilings are measured on at most, and the time after which no further one is begun."""


@dataclass(frozen=True)
class GridCeiling:
    """The mean Dice of each class over the scans that have it, after its way to a grid and back."""

    classes: dict[str, float]
    scans: int

    @property
    def mean(self) -> float:
        """The mean over classes; 1 where no scan has any."""
        return float(np.mean(list(self.classes.values()))) if self.classes else 1.0

    @property
    def worst(self) -> str:
        """The class that loses most; empty where no scan has any."""
        return min(self.classes, key=self.classes.__getitem__, default="")


def measure_ceilings(
    dataset: Dataset,
    samples: Sequence[Sample],
    grids: Sequence[Spacing],
    *,
    now: Callable[[], float] = time.monotonic,
) -> list[GridCeiling]:
    """The ceiling of each grid, by at most SCANS of the labelled scans, evenly chosen, within about SECONDS.

    Raises:
        UserError: labels that can't be read.
    """
    end, each = now() + SECONDS, max(1, available_cores())
    count = min(SCANS, len(samples))
    chosen = [samples[number * len(samples) // count] for number in range(count)]
    found: list[dict[str, list[float]]] = []
    with ThreadPoolExecutor(each) as threads:
        for first in range(0, len(chosen), each):
            if first and now() > end:
                break
            found += threads.map(partial(_scan_scores, dataset, grids=grids), chosen[first : first + each])
    return [_mean_by_class(found, number) for number in range(len(grids))]


def _mean_by_class(scans: Sequence[dict[str, list[float]]], grid: int) -> GridCeiling:
    by_class = defaultdict(list)
    for scan in scans:
        for name, scores in scan.items():
            by_class[name].append(scores[grid])
    return GridCeiling({name: float(np.mean(scores)) for name, scores in by_class.items()}, len(scans))


def _scan_scores(dataset: Dataset, sample: Sample, *, grids: Sequence[Spacing]) -> dict[str, list[float]]:
    """The Dice of each class that a scan has, on each grid in turn."""
    volume = dataset.image(sample)
    targets = [NetworkGrid.from_volume(volume, spacing_mm) for spacing_mm in grids]
    taken = [np.zeros(grid.shape, bool) for grid in targets] if dataset.facts.exclusive else None
    found = {}
    for name in dataset.classes:
        mask = targets[0].orient(dataset.label(sample, name))
        if mask.any():
            found[name] = list(_class_scores(mask, targets, taken))
    return found


def _class_scores(
    mask: Array, grids: Sequence[NetworkGrid], taken: Sequence[Array] | None
) -> Iterator[float]:
    """The Dice of a mask (X, Y, Z), its axes turned, on each grid; `taken` is what earlier classes have."""
    inside = bounding_box(mask)
    for number, grid in enumerate(grids):
        label, box = resample_mask_box(grid, mask, inside)
        if taken is not None:
            label &= ~taken[number][box]
            taken[number][box] |= label
        yield dice_after_return(grid, mask, label, box)


def resample_mask_box(grid: NetworkGrid, mask: Array, inside: Box) -> tuple[Array, Box]:
    """The part of a training label, bool, that is not empty, and its box on the network's grid.

    It is `NetworkGrid.resample_mask` of a mask (X, Y, Z), its axes turned, that is empty outside `inside`.
    """
    axes = zip(grid.oriented_shape, grid.shape, inside, strict=True)
    rows = [interpolation_matrix(old, new)[:, side] for old, new, side in axes]
    x, y, z = (source_range(matrix.T) for matrix in rows)
    weights = [matrix[side] for matrix, side in zip(rows, (x, y, z), strict=True)]
    return apply_matrices(mask[inside].astype(np.float32), weights) >= 0.5, (x, y, z)


def dice_after_return(grid: NetworkGrid, mask: Array, label: Array, box: Box) -> float:
    """The Dice of a native mask (X, Y, Z), its axes turned, with its label in a box of the grid.

    The label is brought back as probabilities of 0 and 1 are, and cut at one half.
    """
    inverse = InverseResampling(grid, box)
    if not inverse.reaches_any:
        return 0.0
    back = inverse.to_native(label.astype(np.float32), 0, inverse.box[2]) >= 0.5
    common = np.count_nonzero(back & mask[inverse.box])
    return 2 * common / (np.count_nonzero(back) + np.count_nonzero(mask))
