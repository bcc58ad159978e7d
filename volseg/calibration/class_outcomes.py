"""The outcome of each class of a validation scan: its Dice, its features, and its probabilities counted."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from volseg.config.sections import Data
from volseg.data.dataset import Dataset, Sample
from volseg.data.preprocessing.grid import NetworkGrid
from volseg.inference.confidence.dice_estimate import mask_certainty
from volseg.inference.confidence.mask_features import MaskFeatures
from volseg.inference.confidence.probability_histogram import Counts, ProbabilityHistogram
from volseg.inference.confidence.review import intensity_levels, scan_mask_features
from volseg.inference.out_of_fold import OutOfFoldScan
from volseg.metrics.mask_pair import MaskPair
from volseg.metrics.overlap import Dice
from volseg.system.timing import StepTimer


@dataclass(frozen=True, eq=False)
class ClassOutcome:
    """One class of one validation scan; counts are of voxels by level outside and inside, (2, 256)."""

    scan: str
    case: str
    class_name: str
    dice: float
    features: MaskFeatures
    voxel_mm3: float
    label_counts: Counts
    mask_counts: Counts

    @property
    def certainty(self) -> float:
        """How certain the network is of the mask; NaN of an empty one."""
        return mask_certainty(self.mask_counts)


def class_outcomes(scan: OutOfFoldScan, dataset: Dataset) -> Iterator[ClassOutcome]:
    """The outcome of each class of a scan."""
    sample, maps, first = scan.sample, scan.maps, scan.channels[0]
    settings = scan.predictor.members[0].data
    levels = intensity_levels(first.voxels, settings.intensity)
    ends = labelled_slices(dataset, sample, maps.grid, settings)
    for number, (name, mask) in enumerate(scan.predictor.postprocess_masks(maps, first, StepTimer())):
        probability, label, prediction = (
            maps.grid.orient(voxels)[:, :, ends]
            for voxels in (maps.class_probability(number), dataset.label(sample, name), mask)
        )
        yield ClassOutcome(
            scan=sample.name,
            case=sample.case,
            class_name=name,
            dice=Dice()(MaskPair(label, prediction, sample.spacing_mm)),
            features=scan_mask_features(mask, first, levels),
            voxel_mm3=math.prod(sample.spacing_mm),
            label_counts=ProbabilityHistogram.from_probability(probability, label).total_counts,
            mask_counts=ProbabilityHistogram.from_probability(probability, prediction).total_counts,
        )


def labelled_slices(dataset: Dataset, sample: Sample, grid: NetworkGrid, data: Data) -> slice:
    """The oriented slices whose labels are reliable: those that the loss was computed on."""
    if data.below_cut == "background":
        return slice(None)
    masks = (grid.orient(dataset.label(sample, name)) for name in dataset.classes)
    last = max((int(z) for mask in masks for z in np.flatnonzero(mask.any(axis=(0, 1)))), default=-1)
    return slice(0, last + 1) if last >= 0 else slice(None)
