"""Nested cross-validation for one class: steps chosen on some cases, their gain measured on others.

Two loops, one in the other (Varma and Simon 2006, "Bias in error estimation when using cross-validation
for model selection"). Inner: a step that is best on some cases is chosen only if choosing so gains
something on those of them that the choice did not see. Outer: for each fold of the cases everything is
chosen on the others, and scored on the fold; that is the gain.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from volseg.evaluation import bootstrap
from volseg.evaluation.bootstrap import Estimate, FiniteSums
from volseg.tuning.search_space import Pipeline, SearchDimension

Table = Mapping[Pipeline, FiniteSums]
"""By pipeline, a row a case."""
Places = npt.NDArray[np.intp]
"""Some rows of a table."""
Weights = Sequence[float] | None
FOLDS, SEED = 5, 0
LEAST_CASES = 3
"""With fewer there is nothing to choose on while one case is scored."""
LEAST_GAIN = 1e-4
"""Less is no reason for one more step."""


@dataclass(frozen=True)
class SearchResult:
    """One dimension's choice on all cases, and the gain of choosing so on cases that had no part in it."""

    dimension: SearchDimension
    before: Pipeline
    after: Pipeline
    gain: Estimate

    @property
    def is_improvement(self) -> bool:
        """Whether the choice changes something, for the better."""
        return self.after != self.before and self.gain.mean > LEAST_GAIN


@dataclass
class ClassSearch:
    """The search for one class, dimension by dimension, with a pipeline for each fold, chosen without it.

    The last of `fold_pipelines` is chosen on all cases. `start` is the pipeline in use.
    """

    start: Pipeline
    cases: int
    weights: Weights
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
            choose_pipeline(table, dimension.choices(old), places, self.weights)
            for old, places in zip(self.fold_pipelines, others, strict=True)
        ]
        before, after = (
            _gather_sums(table, list(zip(self._folds, pipelines[:-1], strict=True)))
            for pipelines in (self.fold_pipelines, new)
        )
        gain = estimate_gain(after, before, self.weights)
        if not self.results:
            self.before = before
        self.results.append(SearchResult(dimension, self.fold_pipelines[-1], new[-1], gain))
        self.after, self.fold_pipelines = after, new

    @property
    def gain(self) -> Estimate:
        """The gain of all dimensions together, on cases that had no part in choosing."""
        return estimate_gain(self.after, self.before, self.weights)

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline in use with the improvements."""
        pipeline = self.start
        for result in self.results:
            if result.is_improvement:
                pipeline = result.dimension.with_step(pipeline, result.dimension.step_in(result.after))
        return pipeline


def split_into_folds(cases: int) -> list[Places]:
    """The cases, by their places, in up to five folds of nearly the same size, always drawn alike."""
    order = np.random.default_rng(SEED).permutation(cases)
    return [np.sort(fold) for fold in np.array_split(order, min(FOLDS, cases))]


def choose_pipeline(table: Table, choices: Sequence[Pipeline], places: Places, weights: Weights) -> Pipeline:
    """The best choice for some cases, if choosing gains on cases the choice did not see; else the first."""
    best = _best_pipeline(table, choices, places, weights)
    if best == choices[0] or len(places) < 2:
        return choices[0]
    folds = [places[fold] for fold in split_into_folds(len(places))]
    chosen = [(fold, _best_pipeline(table, choices, np.setdiff1d(places, fold), weights)) for fold in folds]
    held_out = mean_score(_gather_sums(table, chosen), weights, places)
    return best if held_out - mean_score(table[choices[0]], weights, places) > LEAST_GAIN else choices[0]


def estimate_gain(after: FiniteSums, before: FiniteSums, weights: Weights) -> Estimate:
    """The gain with its interval over cases; cases without any value on either side don't count."""
    there = (after.counts + before.counts).sum(axis=1) > 0
    one, other = (FiniteSums(side.sums[there], side.counts[there]) for side in (after, before))
    return bootstrap.difference_of_sums(one, other, weights=weights)


def pool_sums(classes: Sequence[FiniteSums]) -> FiniteSums:
    """The sums of several classes added up."""
    sums, counts = (np.sum(side, axis=0) for side in zip(*classes, strict=True))
    return FiniteSums(sums, counts)


def mean_score(of: FiniteSums, weights: Weights, places: Places | slice = slice(None)) -> float:
    """The score over some cases, by default all; NaN where there is none."""
    pooled = FiniteSums(*(side[places].sum(axis=0, keepdims=True) for side in of))
    return float(bootstrap.mean_of_sums(pooled, weights)[0])


def _best_pipeline(table: Table, choices: Sequence[Pipeline], places: Places, weights: Weights) -> Pipeline:
    """The choice with the highest score; of equals the first."""
    scores = [mean_score(table[choice], weights, places) for choice in choices]
    return choices[int(np.argmax(np.nan_to_num(scores, nan=-np.inf)))]


def _gather_sums(table: Table, chosen: Sequence[tuple[Places, Pipeline]]) -> FiniteSums:
    """Rows of several pipelines, each for its own cases; zeros for the cases of none."""
    rows = FiniteSums(*map(np.zeros_like, table[chosen[0][1]]))
    for places, pipeline in chosen:
        for side, source in zip(rows, table[pipeline], strict=True):
            side[places] = source[places]
    return rows
