"""How far each organ's mask is to be trusted, what is unusual about it, and which slices to look at first."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from volseg.data.preprocessing.grid import NetworkGrid
from volseg.data.preprocessing.intensity_scaling import Intensity
from volseg.data.volume import Array, Volume
from volseg.formatting import format_ml
from volseg.inference.confidence.calibration_file import Organ, Usual
from volseg.inference.confidence.mask_features import MaskFeatures, compute_features
from volseg.inference.confidence.probability_histogram import (
    Counts,
    Floats,
    ProbabilityHistogram,
    expected_dice,
    total_entropy,
    worst_slices,
)
from volseg.inference.confidence.temperature_scaling import Calibration
from volseg.inference.prediction_folder import Confidence, Flag
from volseg.inference.probability_maps import ProbabilityMaps

Mask = npt.NDArray[np.bool_]
Kind = TypeVar("Kind", bound=np.generic)
LEAST_AGREEMENT = 0.8
BEYOND = 1.25
"""Volumes are unusual from so many times the most that training saw, or less than the least."""
UNSURE_BEYOND = 1.1
"""A border is unusually unsure from so many times the most of validation scans."""
GREY_BEYOND = 0.25
"""Intensities are unusual from this share of training's range beyond its ends."""
STEP = 3
"""The levels of an image are taken from every third row and column, which is enough."""


def scan_mask_features(mask: Mask, first: Volume, levels: tuple[float, float]) -> MaskFeatures:
    """What an organ looks like in the first channel, whose levels these are; ends are those of slices."""
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
    """One scan under review: each organ is added as soon as its mask is known.

    `known` is what the run knows of itself (None: it is not calibrated), `numbers` are the source's of
    the slices, if it has any.
    """

    known: dict[str, Organ] | None
    first: Volume
    levels: tuple[float, float]
    numbers: Sequence[int] = ()
    confidence: dict[str, Confidence] = field(default_factory=dict)
    _wrong: Floats = field(default_factory=lambda: np.zeros(1))

    def add_class(self, name: str, mask: Mask, maps: ProbabilityMaps, number: int) -> None:
        """Judge an organ by its mask (X, Y, Z) and its class's number in the maps."""
        organ = self.known[name] if self.known else None
        calibration = organ.calibration if organ else Calibration()
        table = calibration.level_probabilities
        axis = maps.grid.slice_axis
        tally = ProbabilityHistogram.from_probability(
            slices_last(maps.class_probability(number), axis), slices_last(mask, axis)
        )
        wrong = tally.expected_errors(table)
        self._wrong = self._wrong + wrong
        look = scan_mask_features(mask, self.first, self.levels)
        dice = expected_dice(tally.total_counts, table, calibration.missed)
        agreement = maps.dice_between_passes(number, tally.squared_sum)
        unsure = border_uncertainty_mm(tally.total_counts, table, look, math.prod(self.first.spacing_mm))
        self.confidence[name] = Confidence(
            dice=None if math.isnan(dice) else round(dice, 4),
            calibrated=organ is not None,
            volume_ml=round(look.volume_ml, 3),
            agreement=agreement and round(agreement, 4),
            flags=tuple(mask_flags(look, unsure, agreement, organ.usual if organ else None)),
            slices=self._slice_numbers(worst_slices(wrong)),
        )

    @property
    def slices_to_check(self) -> tuple[tuple[int, int], ...]:
        """The slices to look at first, all organs together."""
        return self._slice_numbers(worst_slices(self._wrong))

    def _slice_numbers(self, ranges: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
        numbers = self.numbers or range(max(self.first.voxels.shape))
        return tuple((numbers[first], numbers[last]) for first, last in ranges)


def border_uncertainty_mm(
    counts: Counts, table: Floats, look: MaskFeatures, voxel_mm3: float
) -> float | None:
    """Over how many mm the border is unsure: the entropy in bits, a voxel's volume each, by its area."""
    return total_entropy(counts, table) * voxel_mm3 / look.border_mm2 if look.border_mm2 else None


def mask_flags(
    look: MaskFeatures, unsure: float | None, agreement: float | None, usual: Usual | None
) -> Iterator[Flag]:
    """What is unusual about an organ; less is known of it where the run is not calibrated."""
    ends = [end for end in look.cut if usual is None or end not in usual.cut]
    if ends:
        text = f"touches {' and '.join(ends)}: the field of view may cut it"
        yield Flag(sign="cut", text=text)
    if agreement is not None and agreement < LEAST_AGREEMENT:
        yield Flag(
            sign="agreement",
            text=f"networks or mirrored views agree with each other only to Dice {agreement:.2f}",
        )
    if usual is None:
        return
    if unsure is not None and unsure > UNSURE_BEYOND * (usual.border_mm or math.inf):
        yield Flag(
            sign="border",
            text=f"border unsure over {unsure:.1f} mm (at most {usual.border_mm:.1f} on validation scans)",
        )
    yield from _training_range_flags(look, usual)


def _training_range_flags(look: MaskFeatures, usual: Usual) -> Iterator[Flag]:
    """What differs from the training scans."""
    if not look.volume_ml:
        if usual.volume_ml and len(usual.volume_ml) == usual.scans:
            yield Flag(sign="missing", text="not found, though every training scan has it")
        return
    volumes = usual.volume_ml.values()
    low, high = min(volumes, default=0.0), max(volumes, default=math.inf)
    if not low / BEYOND <= look.volume_ml <= high * BEYOND:
        text = f"{format_ml(look.volume_ml)} (training: {format_ml(low)} to {format_ml(high)})"
        yield Flag(sign="volume", text=text)
    if usual.volume_ml and look.parts > usual.most_parts:
        yield Flag(sign="parts", text=f"{look.parts} parts (training: at most {usual.most_parts})")
    if usual.intensity and look.intensity is not None:
        darkest, brightest = usual.intensity
        room = GREY_BEYOND * (brightest - darkest)
        if not darkest - room <= look.intensity <= brightest + room:
            text = f"grey {look.intensity:.2f} (training: {darkest:.2f} to {brightest:.2f})"
            yield Flag(sign="intensity", text=text)
