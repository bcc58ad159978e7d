"""Two predictions of the same scans: how far apart they are, and what can be told of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from volseg.evaluation import bootstrap
from volseg.evaluation.bootstrap import Estimate
from volseg.evaluation.comparison.criterion import Criterion, Pairs
from volseg.evaluation.scan_scores import GROUPS, ScanScores

Verdict = Literal["A", "B", "open", "few", "same"]
"""Which is better; "open" if the interval holds 0, "few" if there are too few cases for one."""


@dataclass(frozen=True)
class DifferenceRow:
    """A class, a group of scans or all: the means of A and B over the same scans, and B - A.

    `missed` counts the organs that A and B missed or invented, which are in neither mean.
    """

    name: str
    scans: int
    a: float
    b: float
    difference: Estimate
    missed: tuple[int, int]
    verdict: Verdict


@dataclass(frozen=True)
class ScanDifference:
    """One scan, over its classes; `most` is the class that differs most, and by how much."""

    scan: str
    a: float
    b: float
    difference: float
    most: str
    most_difference: float


def difference_row(name: str, pairs: Pairs, organs: Sequence[str], by: Criterion) -> DifferenceRow:
    """The means over some scans and classes."""
    one, other = by.paired_values(pairs, organs)
    missed = by.missed(pairs, organs)
    difference = bootstrap.difference(other, one, weights=by.weights)
    same = missed[0] == missed[1] and all(
        np.array_equal(one[case], other[case], equal_nan=True) for case in one
    )
    return DifferenceRow(
        name,
        len(pairs),
        bootstrap.mean(one, weights=by.weights).mean,
        bootstrap.mean(other, weights=by.weights).mean,
        difference,
        missed,
        "same" if same else _decide_verdict(difference, by),
    )


def _decide_verdict(difference: Estimate, by: Criterion) -> Verdict:
    if not difference.has_interval:
        return "few"
    if difference.low <= 0 <= difference.high:
        return "open"
    return "B" if (difference.mean > 0) == (by.better == "higher") else "A"


def group_by_training_exposure(pairs: Pairs) -> dict[str, list[tuple[ScanScores, ScanScores]]]:
    """The pairs by what the training that saw more of them had seen; {} if there is one such group."""
    order = list(GROUPS)
    found = {
        name: [pair for pair in pairs if max(pair, key=lambda one: order.index(one.seen)).seen == seen]
        for seen, name in GROUPS.items()
    }
    kept = {name: some for name, some in found.items() if some}
    return kept if len(kept) > 1 else {}


def scan_differences(pairs: Pairs, organs: Sequence[str], by: Criterion) -> list[ScanDifference]:
    """The scans that both measure, from the best for A to the best for B."""
    found = []
    for pair in pairs:
        a, b = _pair_means(pair, organs, by)
        means = {organ: _pair_means(pair, [organ], by) for organ in organs}
        apart = {organ: theirs - mine for organ, (mine, theirs) in means.items()}
        most = max(apart, key=lambda organ: np.nan_to_num(abs(apart[organ]), nan=-1.0))
        found.append(ScanDifference(pair[0].scan, a, b, b - a, most, apart[most]))
    sign = 1 if by.better == "higher" else -1
    return sorted(
        (one for one in found if not math.isnan(one.difference)), key=lambda one: sign * one.difference
    )


def _pair_means(
    pair: tuple[ScanScores, ScanScores], organs: Sequence[str], by: Criterion
) -> tuple[float, float]:
    one, other = (
        bootstrap.mean(values, weights=by.weights).mean for values in by.paired_values([pair], organs)
    )
    return one, other
