"""Cross-validation for one class: steps chosen on some cases, the gain of choosing so measured on others.

The best setting takes the place of the step in use only where its gain over cases is more than chance and its
spread explain, of all that was tried. For each fold of the cases everything is chosen so on the others and
scored on the fold (Varma and Simon 2006, "Bias in error estimation when using cross-validation for model
selection"): that is the gain that choosing in this way can be expected to have. What is chosen on all cases
is applied, and has no other gain: whatever was picked for what it scored seems better than it is.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from volseg.evaluation import bootstrap
from volseg.evaluation.bootstrap import Estimate, FiniteSums
from volseg.tuning.search_space import SEARCH_DIMENSIONS, Pipeline, SearchDimension

Table = Mapping[Pipeline, FiniteSums]
"""By pipeline, a row a case."""
Choice = TypeVar("Choice")
Places = npt.NDArray[np.intp]
"""Some rows of a table."""
Weights = Sequence[float] | None
FOLDS, SEED = 5, 0
LEAST_CASES = 3
"""With fewer there is nothing to choose on while one case is scored."""
LEAST_GAIN = 1e-4
"""Less is no reason for one more step."""
LEAST_SHOWING = 5
"""Fewer cases show nothing, however alike they are: that all of three gain is chance in one draw of eight."""
ERROR = 0.03
"""The chance that anything is changed, of all classes and dimensions, where nothing makes a difference."""
TRIED = sum(len(dimension.settings) for dimension in SEARCH_DIMENSIONS)
"""Settings, which share that chance (Bonferroni)."""


@dataclass(frozen=True)
class SearchResult:
    """One dimension's choice on all cases."""

    dimension: SearchDimension
    before: Pipeline
    after: Pipeline

    @property
    def is_improvement(self) -> bool:
        """Whether the choice changes something."""
        return self.after != self.before


@dataclass
class ClassSearch:
    """The search for one class, from the pipeline in use on, dimension by dimension.

    Each fold has a pipeline that is chosen without it; the last of `fold_pipelines` is chosen on all cases.
    So many `classes` share the chance of an error.
    """

    start: Pipeline
    cases: int
    weights: Weights
    classes: int = 3
    fold_pipelines: list[Pipeline] = field(init=False)
    results: list[SearchResult] = field(default_factory=list)
    before: FiniteSums = field(init=False)
    after: FiniteSums = field(init=False)

    def __post_init__(self) -> None:
        self._folds = split_into_folds(self.cases)
        self.fold_pipelines = [self.start] * (len(self._folds) + 1)

    def pipelines_to_score(self, dimension: SearchDimension) -> list[Pipeline]:
        """The pipelines whose scores `choose` needs."""
        return list(dict.fromkeys(one for old in self.fold_pipelines for one in dimension.choices(old)))

    def choose(self, dimension: SearchDimension, table: Table) -> None:
        """Choose a step on the cases outside each fold, and on all cases."""
        every = np.arange(self.cases)
        others = [*(np.setdiff1d(every, fold) for fold in self._folds), every]
        new = [
            choose_pipeline(table, dimension.choices(old), places, self.weights, classes=self.classes)
            for old, places in zip(self.fold_pipelines, others, strict=True)
        ]
        if not self.results:
            self.before = table[self.start]
        self.results.append(SearchResult(dimension, self.fold_pipelines[-1], new[-1]))
        self.after = gather_sums(table, list(zip(self._folds, new[:-1], strict=True)))
        self.fold_pipelines = new

    @property
    def gain(self) -> Estimate:
        """The gain of choosing in all dimensions, on cases that had no part in it."""
        return estimate_gain(self.after, self.before, self.weights)

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline that is chosen on all cases."""
        return self.fold_pipelines[-1]


def split_into_folds(cases: int) -> list[Places]:
    """The cases, by their places, in up to five folds of nearly the same size, always drawn alike."""
    order = np.random.default_rng(SEED).permutation(cases)
    return [np.sort(fold) for fold in np.array_split(order, min(FOLDS, cases))]


def choose_pipeline(
    table: Table, choices: Sequence[Pipeline], places: Places, weights: Weights, *, classes: int = 3
) -> Pipeline:
    """The best pipeline for some cases, if they show that it gains; else the first."""
    return choose_shown(table, choices, places, weights, error=ERROR / (classes * TRIED))


def choose_shown(
    table: Mapping[Choice, FiniteSums],
    choices: Sequence[Choice],
    places: Places,
    weights: Weights,
    *,
    error: float,
) -> Choice:
    """The best choice for some cases, if they show but for a share `error` that it gains; else the first."""
    best = best_choice(table, choices, places, weights)
    after, before = (FiniteSums(*(side[places] for side in table[one])) for one in (best, choices[0]))
    return best if is_gain_shown(after, before, weights, error=error) else choices[0]


def is_gain_shown(after: FiniteSums, before: FiniteSums, weights: Weights, *, error: float) -> bool:
    """Whether the gain over cases is more than its spread explains, but for a share `error` of draws.

    A one-sided t test that takes skewness into account.
    """
    after, before = _measured_cases(after, before)
    cases = len(after.counts)
    if cases < LEAST_SHOWING:
        return False
    gain = mean_score(after, weights) - mean_score(before, weights)
    without = _scores_without_each(after, weights) - _scores_without_each(before, weights)
    return gain > LEAST_GAIN and _test_statistic(gain, without) > float(stdtrit(cases - 1, 1 - error))


def _test_statistic(gain: float, without: npt.NDArray[np.float64]) -> float:
    """Student's t of a gain by those over all cases but one, lowered where cases lean to rare, large losses.

    Many small gains hide such losses, and have next to no spread (Hall 1992, "On the removal of skewness by
    transformation"). The standard error is the jackknife's, which scores that pool slices have too.
    """
    parts, cases = without.mean() - without, len(without)
    spread = math.sqrt((cases - 1) / cases * float((parts**2).sum()))
    if not spread:
        return math.inf
    t, skewness = gain / spread, float((parts**3).mean() / (parts**2).mean() ** 1.5)
    lean = min(0, skewness) * math.sqrt(cases - 1) / (3 * (cases - 2))  # few cases show too little of it
    return t + lean * t**2 + lean**2 * t**3 / 3 + lean / 2


def estimate_gain(after: FiniteSums, before: FiniteSums, weights: Weights) -> Estimate:
    """The gain with its interval over cases; cases without any value on either side don't count."""
    return bootstrap.difference_of_sums(*_measured_cases(after, before), weights=weights)


def pool_sums(classes: Sequence[FiniteSums]) -> FiniteSums:
    """The sums of several classes added up."""
    sums, counts = (np.sum(side, axis=0) for side in zip(*classes, strict=True))
    return FiniteSums(sums, counts)


def mean_score(of: FiniteSums, weights: Weights) -> float:
    """The score over all cases; NaN where there is none."""
    pooled = FiniteSums(*(side.sum(axis=0, keepdims=True) for side in of))
    return float(bootstrap.mean_of_sums(pooled, weights)[0])


def _measured_cases(one: FiniteSums, other: FiniteSums) -> tuple[FiniteSums, FiniteSums]:
    """Both sides of the cases that have a value on either."""
    there = (one.counts + other.counts).sum(axis=1) > 0
    return FiniteSums(*(side[there] for side in one)), FiniteSums(*(side[there] for side in other))


def _scores_without_each(of: FiniteSums, weights: Weights) -> npt.NDArray[np.float64]:
    """The score over all other cases, for each case."""
    return bootstrap.mean_of_sums(FiniteSums(*(side.sum(axis=0) - side for side in of)), weights)


def best_choice(
    table: Mapping[Choice, FiniteSums], choices: Sequence[Choice], places: Places, weights: Weights
) -> Choice:
    """The choice with the highest score; of equals the first."""
    pooled = (np.stack([table[choice][side][places].sum(axis=0) for choice in choices]) for side in (0, 1))
    scores = bootstrap.mean_of_sums(FiniteSums(*pooled), weights)
    return choices[int(np.argmax(np.nan_to_num(scores, nan=-np.inf)))]


def gather_sums(table: Mapping[Choice, FiniteSums], chosen: Sequence[tuple[Places, Choice]]) -> FiniteSums:
    """Rows of several choices, each for its own cases; zeros for the cases of none."""
    rows = FiniteSums(*map(np.zeros_like, table[chosen[0][1]]))
    for places, choice in chosen:
        for side, source in zip(rows, table[choice], strict=True):
            side[places] = source[places]
    return rows
