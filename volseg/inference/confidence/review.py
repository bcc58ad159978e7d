"""Confidence in each class's mask, flags for what is unusual about it, and the slices to check first."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Required, TypedDict, TypeVar

import numpy as np
import numpy.typing as npt

from volseg.data.preprocessing.grid import NetworkGrid
from volseg.data.preprocessing.intensity_scaling import Intensity
from volseg.data.volume import Array, Volume
from volseg.formatting import format_ml
from volseg.inference.confidence.calibration_file import ClassCalibration, KnownClasses, ReferenceRanges
from volseg.inference.confidence.dice_estimate import DiceEstimate, mask_certainty
from volseg.inference.confidence.mask_features import MaskFeatures, compute_features
from volseg.inference.confidence.probability_histogram import (
    Counts,
    Floats,
    ProbabilityHistogram,
    total_entropy,
    worst_slices,
)
from volseg.inference.confidence.temperature_scaling import TemperatureScaling
from volseg.inference.prediction_record import Confidence, Flag
from volseg.inference.probability_maps import ProbabilityMaps
from volseg.postprocessing.pipeline import StepChange

Mask = npt.NDArray[np.bool_]
Kind = TypeVar("Kind", bound=np.generic)
LEAST_AGREEMENT = 0.8
BEYOND = 1.25
"""Volumes are unusual from so many times the largest of training, or less than the smallest."""
UNSURE_BEYOND = 1.1
"""A border is unusually uncertain from so many times the largest uncertainty on validation scans."""
GREY_BEYOND = 0.25
"""Intensities are unusual from this share of training's range beyond its ends."""
REMOVED = 0.25
"""From this share of what is left on, parts that cleaning removed are told: the wrong one may be left."""
STEP = 3
"""The levels of an image are computed from every third row and column, which is enough."""


def scan_mask_features(mask: Mask, first: Volume, levels: tuple[float, float]) -> MaskFeatures:
    """The features of a mask (X, Y, Z) by the first channel and its levels; ends are those of slices."""
    axis = NetworkGrid.from_volume(first, None).slice_axis
    x, y, z = np.roll(first.spacing_mm, 2 - axis)
    return compute_features(slices_last(mask, axis), slices_last(first.voxels, axis), (x, y, z), levels)


def slices_last(voxels: npt.NDArray[Kind], axis: int) -> npt.NDArray[Kind]:
    """A view of voxels (X, Y, Z) whose last axis is the one across the slices."""
    return voxels.transpose(np.roll(range(3), 2 - axis))


def intensity_levels(voxels: Array, intensity: Intensity) -> tuple[float, float]:
    """The values of voxels (X, Y, Z) that count as 0 and 1, as a run scales them."""
    return intensity.levels(voxels[::STEP, ::STEP])


@dataclass
class ScanReview:
    """The review of one scan, to which each class is added as soon as its mask is known.

    `known` is what calibration tells of the run's classes, `numbers` are the source's numbers of the slices,
    if any. `doubt` says why no confidence in this scan's masks can be known, as when it is unlike all that
    training saw; it stands in place of every number.
    """

    known: KnownClasses
    first: Volume
    levels: tuple[float, float]
    numbers: Sequence[int] = ()
    doubt: str = ""
    confidence: dict[str, Confidence] = field(default_factory=dict)
    _errors: Floats = field(default_factory=lambda: np.zeros(1))

    def add_class(
        self, name: str, mask: Mask, maps: ProbabilityMaps, number: int, *, changes: Sequence[StepChange] = ()
    ) -> None:
        """Review a class by its mask (X, Y, Z), its number in the maps, and what each step changed."""
        own = self.known.calibration_of(name)
        scaling = own.calibration if own else TemperatureScaling()
        table, axis = scaling.level_probabilities, maps.grid.slice_axis
        histogram = ProbabilityHistogram.from_probability(
            slices_last(maps.class_probability(number), axis), slices_last(mask, axis)
        )
        counts, errors = histogram.total_counts, histogram.expected_errors(table)
        self._errors = self._errors + errors
        features = scan_mask_features(mask, self.first, self.levels)
        agreement = maps.dice_between_passes(number, histogram.squared_sum)
        border_mm = border_uncertainty_mm(counts, table, features, math.prod(self.first.spacing_mm))
        flags = (
            *mask_flags(features, border_mm, agreement, self.known.usual_ranges(name)),
            *removal_flags(changes, features.volume_ml),
        )
        self.confidence[name] = Confidence(
            **estimated_dice(counts, own, self.doubt),
            calibrated=own is not None,
            volume_ml=round(features.volume_ml, 3),
            agreement=agreement and round(agreement, 4),
            flags=tuple(Flag(sign=sign, text=text) for sign, text in flags),
            slices=self._slice_numbers(worst_slices(errors)),
        )

    @property
    def slices_to_check(self) -> tuple[tuple[int, int], ...]:
        """The slices to check first, all classes together."""
        return self._slice_numbers(worst_slices(self._errors))

    def _slice_numbers(self, ranges: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
        numbers = self.numbers or range(max(self.first.voxels.shape))
        return tuple((numbers[first], numbers[last]) for first, last in ranges)


class DiceFields(TypedDict, total=False):
    """What a record tells of the Dice to expect of a mask."""

    dice: Required[float | None]
    range: tuple[float, float] | None
    error: float | None
    doubt: str


def estimated_dice(counts: Counts, known: ClassCalibration | None, doubt: str = "") -> DiceFields:
    """The Dice to expect of a mask by its counts (2, 256), and how good that is, or why nobody knows."""
    certainty = mask_certainty(counts)
    doubt = doubt or (known.doubt if known else "")
    if math.isnan(certainty) or doubt:
        return {"dice": None, "doubt": "" if math.isnan(certainty) else doubt}
    estimate = (known and known.estimate) or DiceEstimate()
    low_high = estimate.bounds(certainty)
    return {
        "dice": round(estimate.dice(certainty), 4),
        "range": low_high and (round(low_high[0], 4), round(low_high[1], 4)),
        "error": known.after.dice_error if known else None,
    }


def border_uncertainty_mm(
    counts: Counts, table: Floats, features: MaskFeatures, voxel_mm3: float
) -> float | None:
    """The width of the uncertain border in mm: the entropy in bits, a voxel's volume each, over its area."""
    return total_entropy(counts, table) * voxel_mm3 / features.border_mm2 if features.border_mm2 else None


def mask_flags(
    features: MaskFeatures, border_mm: float | None, agreement: float | None, usual: ReferenceRanges | None
) -> Iterator[tuple[str, str]]:
    """Sign and text of each unusual feature of a mask; fewer signs exist where the run is not calibrated."""
    ends = [end for end in features.cut if usual is None or end not in usual.cut]
    if ends:
        yield "cut", f"touches {' and '.join(ends)}: the field of view may cut it"
    if agreement is not None and agreement < LEAST_AGREEMENT:
        yield "agreement", f"networks or mirrored views agree with each other only to Dice {agreement:.2f}"
    if usual is None:
        return
    if border_mm is not None and border_mm > UNSURE_BEYOND * (usual.border_mm or math.inf):
        yield (
            "border",
            f"border unsure over {border_mm:.1f} mm (at most {usual.border_mm:.1f} on validation scans)",
        )
    yield from _training_range_flags(features, usual)


def removal_flags(changes: Sequence[StepChange], kept_ml: float) -> Iterator[tuple[str, str]]:
    """Sign and text if cleaning removed parts that are large beside the volume that it kept."""
    removed = sum(change.removed_ml for change in changes if change.parts_after < change.parts_before)
    if removed and removed >= REMOVED * kept_ml:
        yield (
            "removed",
            f"cleaning kept {format_ml(kept_ml)} and removed {format_ml(removed)}: the right parts?",
        )


def _training_range_flags(features: MaskFeatures, usual: ReferenceRanges) -> Iterator[tuple[str, str]]:
    """The features outside the ranges of the training labels."""
    volume, grey, volumes = features.volume_ml, features.intensity, usual.volumes
    if not volume:
        if volumes and volumes.scans == usual.scans:
            yield "missing", "not found, though every training scan has it"
        return
    if volumes:
        low, high = volumes.low_ml, volumes.high_ml
        if not low / BEYOND <= volume <= high * BEYOND:
            yield "volume", f"{format_ml(volume)} (training: {format_ml(low)} to {format_ml(high)})"
        if features.parts > usual.most_parts:
            yield "parts", f"{features.parts} parts (training: at most {usual.most_parts})"
    if usual.intensity and grey is not None:
        darkest, brightest = usual.intensity
        room = GREY_BEYOND * (brightest - darkest)
        if not darkest - room <= grey <= brightest + room:
            yield "intensity", f"grey {grey:.2f} (training: {darkest:.2f} to {brightest:.2f})"
