"""Differences between two predictions of the same scans, and the verdict on each."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from volseg.evaluation import bootstrap
from volseg.evaluation.bootstrap import Estimate
from volseg.evaluation.comparison.criterion import Criterion, Pairs
from volseg.evaluation.scan_scores import GROUP_NAMES, ScanScores

Verdict = Literal["A", "B", "open", "few", "same"]
"""The better one; "open" if the interval holds 0, "few" if there are too few cases for an interval."""


@dataclass(frozen=True)
class DifferenceRow:
    """A class, a group of scans or all: the means of A and B over the same scans, and B - A.

    `missed` counts the classes that A and B missed or invented, which are in neither mean.
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


@dataclass(frozen=True, kw_only=True)
class Differences:
    """All differences; `by_scan` runs from the best for A to the best for B."""

    overall: DifferenceRow
    classes: tuple[DifferenceRow, ...]
    groups: tuple[DifferenceRow, ...]
    by_scan: tuple[ScanDifference, ...]


def compare_pairs(pairs: Pairs, by: Criterion) -> Differences:
    """The differences over at least one scan: all classes, each class, each group of scans, each scan."""
    classes = list(pairs[0][0].values)
    groups = _group_by_training_exposure(pairs)
    return Differences(
        overall=_difference_row("all classes", pairs, classes, by),
        classes=tuple(_difference_row(name, pairs, [name], by) for name in classes),
        groups=tuple(_difference_row(name, some, classes, by) for name, some in groups.items()),
        by_scan=tuple(_scan_differences(pairs, classes, by)),
    )


def _difference_row(name: str, pairs: Pairs, classes: Sequence[str], by: Criterion) -> DifferenceRow:
    """The means over some scans and classes, their difference and the verdict."""
    one, other = by.paired_values(pairs, classes)
    missed = by.missed(pairs, classes)
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


def _group_by_training_exposure(pairs: Pairs) -> dict[str, list[tuple[ScanScores, ScanScores]]]:
    """The pairs by what training had seen on the side that saw more; {} if there is one such group."""
    most = [max((scan.group for scan in pair), key=GROUP_NAMES.index) for pair in pairs]
    return {
        name: [pair for pair, of_pair in zip(pairs, most, strict=True) if of_pair == name]
        for name in GROUP_NAMES
        if name in most and len(set(most)) > 1
    }


def _scan_differences(pairs: Pairs, classes: Sequence[str], by: Criterion) -> list[ScanDifference]:
    """The scans that both sides measure, from the best for A to the best for B."""
    scans = []
    for pair in pairs:
        means = [_pair_means(pair, names, by) for names in (classes, *([name] for name in classes))]
        total, *differences = (b - a for a, b in means)
        most = int(np.argmax(np.nan_to_num(np.abs(differences), nan=-1.0)))
        scans.append(ScanDifference(pair[0].scan, *means[0], total, classes[most], differences[most]))
    sign = 1 if by.better == "higher" else -1
    measured = (scan for scan in scans if not math.isnan(scan.difference))
    return sorted(measured, key=lambda scan: sign * scan.difference)


def _pair_means(
    pair: tuple[ScanScores, ScanScores], classes: Sequence[str], by: Criterion
) -> tuple[float, float]:
    one, other = (
        bootstrap.mean(values, weights=by.weights).mean for values in by.paired_values([pair], classes)
    )
    return one, other
