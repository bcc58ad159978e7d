"""The criterion of a comparison: a metric of scores.csv, or the competition's score."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from volseg.errors import UserError, closest_name, did_you_mean
from volseg.evaluation.bootstrap import Values
from volseg.evaluation.intervals import kaggle_by_case, values_by_case
from volseg.evaluation.scan_scores import NAMES, ScanScores
from volseg.metrics import plugin_metrics
from volseg.metrics.kaggle_score import KAGGLE

Array = npt.NDArray[np.float64]
Pairs = Sequence[tuple[ScanScores, ScanScores]]
SCORE = "kaggle"
SHARES, DISTANCES, SIGNED = (("Dice", "IoU", "NSD"), ("HD", "ASD", "ASSD", "APL"), "volume_difference")


@dataclass(frozen=True)
class Criterion:
    """A metric and its better side; signed differences are compared by their size."""

    name: str
    better: Literal["higher", "lower"]
    digits: int = 3

    @property
    def title(self) -> str:
        """The metric's name in a sentence."""
        return f"|{self.name}|" if self.name.startswith(SIGNED) else self.name

    @property
    def weights(self) -> tuple[float, ...] | None:
        """The weights of the columns of `paired_values` in a mean; None for equal ones."""
        return KAGGLE if self.name == SCORE else None

    def paired_values(self, pairs: Pairs, classes: Sequence[str]) -> tuple[Values, Values]:
        """The values of A and of B by case, (rows, columns), as the bootstrap takes them.

        A metric is NaN on both sides where one can't be averaged. A share (such as Dice) is 1 where one
        side rightly leaves a class empty (NaN) that the other invents (0).
        """
        one, other = ([pair[side] for pair in pairs] for side in (0, 1))
        if self.name == SCORE:
            places = [list(one[0].values).index(name) for name in classes]
            return kaggle_by_case(one, places), kaggle_by_case(other, places)
        left, right = (values_by_case(scans, classes, self.name) for scans in (one, other))
        for case in left:
            left[case], right[case] = self._comparable_values(left[case], right[case])
        return left, right

    def missed(self, pairs: Pairs, classes: Sequence[str]) -> tuple[int, int]:
        """How often A and B missed or invented a class, so that the metric is infinite."""
        if self.name == SCORE:
            return 0, 0
        values = [[[scan.values[name][self.name] for name in classes] for scan in pair] for pair in pairs]
        one, other = np.isinf(values).sum(axis=(0, 2)).tolist()
        return one, other

    def _comparable_values(self, one: Array, other: Array) -> tuple[Array, Array]:
        if self.name.startswith(SHARES):
            one, other = (
                np.where(np.isnan(ours) & np.isfinite(theirs), 1, ours)
                for ours, theirs in ((one, other), (other, one))
            )
        if self.name.startswith(SIGNED):
            one, other = abs(one), abs(other)
        both = np.isfinite(one) & np.isfinite(other)
        return np.where(both, one, np.nan), np.where(both, other, np.nan)


OWN_CRITERIA = {
    name: Criterion(name, "higher") if name.startswith((*SHARES, SCORE)) else Criterion(name, "lower", 1)
    for name in (*NAMES, SCORE)
    if name.startswith((*SHARES, SCORE, *DISTANCES, SIGNED))
}
"""Those of our own metrics by name; of plain volumes neither more nor less is better."""


def all_criteria() -> dict[str, Criterion]:
    """All criteria by name: those of our own metrics, and of other packages' that say what is better."""
    others = ((name, metric.better, metric.unit) for name, (_, metric) in plugin_metrics().items())
    return OWN_CRITERIA | {
        name: Criterion(name, better, 1 if unit else 3) for name, better, unit in others if better
    }


def find_criterion(name: str) -> Criterion:
    """The criterion with a name in upper or lower case; a UserError names those that exist."""
    criteria = all_criteria()
    known = {metric.lower(): metric for metric in (*NAMES, *plugin_metrics(), SCORE)}
    metric = known.get(name.lower())
    if metric is None:
        meant = did_you_mean(known.get(closest_name(name.lower(), known) or ""))
        raise UserError(f"--metric {name}: no such metric; there are {', '.join(criteria)}{meant}")
    if metric not in criteria:
        raise UserError(
            f"--metric {metric}: neither more nor less of it is better; choose one of {', '.join(criteria)}"
        )
    return criteria[metric]
