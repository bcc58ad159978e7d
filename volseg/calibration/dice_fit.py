"""The line from a mask's certainty to its Dice for each class, from few masks.

Dice is a share, so the line is that of a logistic regression, which keeps the mean of what it is fitted to
and can't leave 0 to 1; a mask that failed pulls no more than its own distance. Five cases say little about a
slope for each of thirteen classes, so each class's line is drawn to that of all, and that one's slope to 1.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from volseg.inference.confidence.dice_estimate import DiceEstimate, Floats, logit, sigmoid

COMMON_SLOPE, OWN_HEIGHT, OWN_SLOPE = 0.05, 0.2, 0.25
"""How hard the common slope is drawn to 1, and a class's height and slope to the common ones."""
MOST_GROUPS = 20
"""Up to so many cases each is left out by itself; more are left out in so many groups."""
OUTSIDE = 10
"""One mask in so many is to lie below the range that is told, and one above it."""
STEPS = 50


@dataclass(frozen=True)
class SeenMask:
    """A mask of a scan that the network has not seen: how certain the network is of it, and its Dice."""

    case: str
    class_name: str
    certainty: float
    dice: float


def left_out_groups(cases: Sequence[str]) -> Iterator[frozenset[str]]:
    """The cases that are left out together, each once."""
    names = list(dict.fromkeys(cases))
    groups = min(len(names), MOST_GROUPS)
    for first in range(groups):
        yield frozenset(names[first::groups])


def fit_estimates(masks: Sequence[SeenMask], classes: Sequence[str]) -> dict[str, DiceEstimate]:
    """What each class's certainty stands for; margins are those of cases that had no part in their line."""
    apart: dict[str, list[float]] = {name: [] for name in classes}
    for group in left_out_groups([mask.case for mask in masks]):
        lines = _fit_lines([mask for mask in masks if mask.case not in group], classes)
        for mask in masks:
            if mask.case in group:
                told = lines[mask.class_name].dice(mask.certainty)
                apart[mask.class_name].append(float(logit(mask.dice) - logit(told)))
    cases = {name: {mask.case for mask in masks if mask.class_name == name} for name in classes}
    return {
        name: line.model_copy(update={"margin": _margin(apart[name], len(cases[name]))})
        for name, line in _fit_lines(masks, classes).items()
    }


def _margin(apart: Sequence[float], cases: int) -> tuple[float, float] | None:
    """The range that the next mask lies outside of twice in OUTSIDE times; None of too few cases.

    The next of n masks is below the k-th smallest with the probability k / (n + 1), however they are spread.
    """
    if cases + 1 < OUTSIDE:
        return None
    place = (len(apart) + 1) // OUTSIDE - 1
    ordered = sorted(apart)
    return round(ordered[place], 4), round(ordered[-1 - place], 4)


def _fit_lines(masks: Sequence[SeenMask], classes: Sequence[str]) -> Mapping[str, DiceEstimate]:
    """A line a class; of a class without masks the common one, and without any masks that of slope 1."""
    certainty = logit([mask.certainty for mask in masks])
    dice = np.array([mask.dice for mask in masks])
    own = np.array([[mask.class_name == name for name in classes] for mask in masks], float)
    own = own.reshape(-1, len(classes))
    middle = float(certainty.mean()) if masks else 0.0
    away = (certainty - middle)[:, None]
    spread = float(away.std()) if masks else 0.0
    scaled = away / (spread or 1.0)
    columns = np.hstack([np.ones_like(away), scaled, own, own * scaled])
    start = np.zeros(columns.shape[1])
    start[:2] = middle, spread
    strength = np.repeat([0.0, COMMON_SLOPE, OWN_HEIGHT, OWN_SLOPE], [1, 1, len(classes), len(classes)])
    found = _fit_logistic(columns, dice, start, strength) if masks else start
    heights, slopes = np.split(found[2:], 2)
    lines = {}
    for name, height, slope in zip(classes, found[0] + heights, found[1] + slopes, strict=True):
        steep = max(0.0, slope / spread) if spread else 1.0
        lines[name] = DiceEstimate(
            intercept=round(float(height - steep * middle), 5), slope=round(float(steep), 5)
        )
    return lines


def _fit_logistic(columns: Floats, shares: Floats, start: Floats, strength: Floats) -> Floats:
    """The coefficients of a logistic regression of shares, drawn to where they start; by Newton's steps."""
    found = start.copy()
    for _ in range(STEPS):
        told = sigmoid(columns @ found)
        uphill = columns.T @ (shares - told) - strength * (found - start)
        weight = np.maximum(told * (1 - told), 1e-3)[:, None]
        curved: npt.NDArray[np.float64] = (columns * weight).T @ columns + np.diag(strength + 1e-9)
        step = np.linalg.solve(curved, uphill).clip(-2, 2)
        found = found + step
        if np.abs(step).max() < 1e-8:
            break
    return found
