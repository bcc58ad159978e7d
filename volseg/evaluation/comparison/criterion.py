"""What two predictions are compared by: a metric of scores.csv, or the competition's score."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from volseg.errors import UserError, closest_name, did_you_mean
from volseg.evaluation.bootstrap import Values
from volseg.evaluation.intervals import kaggle_by_case, values_by_case
from volseg.evaluation.scan_scores import NAMES, ScanScores
from volseg.metrics.kaggle_score import KAGGLE

Array = npt.NDArray[np.float64]
Pairs = Sequence[tuple[ScanScores, ScanScores]]
SCORE = "kaggle"
SHARES, DISTANCES, SIGNED = (("Dice", "IoU", "NSD"), ("HD", "ASD", "ASSD", "APL"), "volume_difference")


@dataclass(frozen=True)
class Criterion:
    """A metric and its better side; of signed differences the size is compared."""

    name: str
    better: Literal["higher", "lower"]
    digits: int = 3

    @property
    def title(self) -> str:
        """Its name in a sentence."""
        return f"|{self.name}|" if self.name.startswith(SIGNED) else self.name

    @property
    def weights(self) -> tuple[float, ...] | None:
        """How the columns of `values` are weighed in a mean; None: alike."""
        return KAGGLE if self.name == SCORE else None

    def paired_values(self, pairs: Pairs, organs: Sequence[str]) -> tuple[Values, Values]:
        """What A and B have by case, (rows, columns), as the bootstrap takes it.

        Of a metric both are NaN where one can't be averaged. Where one rightly leaves a class empty and
        the other invents it (0 of a share), there is nothing to measure but the former is perfect: 1.
        """
        one, other = ([pair[side] for pair in pairs] for side in (0, 1))
        if self.name == SCORE:
            places = [list(one[0].values).index(organ) for organ in organs]
            return kaggle_by_case(one, places), kaggle_by_case(other, places)
        left, right = (values_by_case(scans, organs, self.name) for scans in (one, other))
        both = {case: self._comparable_values(left[case], right[case]) for case in left}
        return {case: two[0] for case, two in both.items()}, {case: two[1] for case, two in both.items()}

    def missed(self, pairs: Pairs, organs: Sequence[str]) -> tuple[int, int]:
        """How often A and B missed or invented an organ, so that the metric is infinite."""
        if self.name == SCORE:
            return 0, 0
        one, other = (
            sum(bool(np.isinf(pair[side].values[organ][self.name])) for pair in pairs for organ in organs)
            for side in (0, 1)
        )
        return one, other

    def _comparable_values(self, one: Array, other: Array) -> tuple[Array, Array]:
        if self.name.startswith(SHARES):
            one, other = (
                np.where(np.isnan(mine) & np.isfinite(theirs), 1, mine)
                for mine, theirs in ((one, other), (other, one))
            )
        if self.name.startswith(SIGNED):
            one, other = abs(one), abs(other)
        both = np.isfinite(one) & np.isfinite(other)
        return np.where(both, one, np.nan), np.where(both, other, np.nan)


def find_criterion(name: str) -> Criterion:
    """The one of that name, upper or lower case.

    Raises:
        UserError: no such metric, or one of which neither more nor less is better.
    """
    known = {one.lower(): one for one in (*NAMES, SCORE)}
    found = known.get(name.lower())
    if found is None:
        meant = did_you_mean(known.get(closest_name(name.lower(), known) or ""))
        raise UserError(
            f"--metric {name}: no such metric; there are {', '.join(comparable_metrics())}{meant}"
        )
    made = _criterion_or_none(found)
    if made is None:
        raise UserError(
            f"--metric {found}: neither more nor less of it is better; "
            f"choose one of {', '.join(comparable_metrics())}"
        )
    return made


def comparable_metrics() -> list[str]:
    """The names that `yardstick` takes."""
    return [name for name in (*NAMES, SCORE) if _criterion_or_none(name)]


def _criterion_or_none(name: str) -> Criterion | None:
    if name.startswith(SHARES) or name == SCORE:
        return Criterion(name, "higher")
    if name.startswith((*DISTANCES, SIGNED)):
        return Criterion(name, "lower", digits=1)
    return None
