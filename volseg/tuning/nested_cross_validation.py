"""Choosing on some cases and judging on others: how steps are found for one class, and what they gain.

Two loops, one in the other (Varma and Simon 2006, "Bias in error estimation when using cross-validation
for model selection"). What is chosen for a place on some cases is kept if choosing so gains something on
those of them that the choice did not see: that is part of how one chooses. How much the whole of it
gains is told by an outer loop: for each part of the cases all is chosen on the others, and judged there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from volseg.evaluation import bootstrap
from volseg.evaluation.bootstrap import Estimate, FiniteSums
from volseg.tuning.search_space import Pipeline, SearchDimension

Table = Mapping[Pipeline, FiniteSums]
Places = npt.NDArray[np.intp]
"""Which rows of a table, each of which is a case."""
PARTS, SEED = 5, 0
LEAST_CASES = 3
"""With fewer there is nothing to choose on while one is judged."""
LEAST_GAIN = 1e-4
"""Less is no reason for one more step."""
Weights = Sequence[float] | None


@dataclass(frozen=True)
class SearchResult:
    """What was found for one place, and what choosing there gained on cases that took no part in it."""

    dimension: SearchDimension
    before: Pipeline
    after: Pipeline
    gain: Estimate

    @property
    def is_improvement(self) -> bool:
        """Whether it changes something, for the better."""
        return self.after != self.before and self.gain.mean > LEAST_GAIN


@dataclass
class ClassSearch:
    """One class on its way through the places: the pipeline that each part's others have chosen so far.

    The last of `held` is chosen on all cases. `start` is the pipeline in use.
    """

    start: Pipeline
    cases: int
    weights: Weights
    fold_pipelines: list[Pipeline] = field(init=False)
    results: list[SearchResult] = field(default_factory=list)
    before: FiniteSums = field(init=False)
    after: FiniteSums = field(init=False)

    def __post_init__(self) -> None:
        self._parts = split_into_folds(self.cases)
        self.fold_pipelines = [self.start] * (len(self._parts) + 1)

    def pipelines_to_score(self, slot: SearchDimension) -> list[Pipeline]:
        """The pipelines whose scores it takes to choose for this place."""
        return list(dict.fromkeys(one for held in self.fold_pipelines for one in slot.choices(held)))

    def choose(self, slot: SearchDimension, table: Table) -> None:
        """Choose for this place, on the cases without each part and on all."""
        every = np.arange(self.cases)
        others = [*(np.setdiff1d(every, part) for part in self._parts), every]
        new = [
            choose_pipeline(table, slot.choices(held), places, self.weights)
            for held, places in zip(self.fold_pipelines, others, strict=True)
        ]
        before, after = (self._held_out_sums(table, self.fold_pipelines), self._held_out_sums(table, new))
        gain = estimate_gain(after, before, self.weights)
        self.results.append(SearchResult(slot, self.fold_pipelines[-1], new[-1], gain))
        if len(self.results) == 1:
            self.before = before
        self.after, self.fold_pipelines = after, new

    @property
    def gain(self) -> Estimate:
        """What all places together gain, on cases that took no part in choosing."""
        return estimate_gain(self.after, self.before, self.weights)

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline in use with what is kept."""
        made = self.start
        for one in self.results:
            if one.is_improvement:
                made = one.dimension.with_step(made, one.dimension.step_in(one.after))
        return made

    def _held_out_sums(self, table: Table, held: Sequence[Pipeline]) -> FiniteSums:
        """Each case's row of the pipeline that was chosen without it."""
        return _gather_sums(table, list(zip(self._parts, held[:-1], strict=True)), self.cases)


def split_into_folds(cases: int) -> list[Places]:
    """The cases, by their places, in up to five parts of nearly the same size, drawn once for all."""
    order = np.random.default_rng(SEED).permutation(cases)
    return [np.sort(part) for part in np.array_split(order, min(PARTS, cases))]


def choose_pipeline(table: Table, choices: Sequence[Pipeline], places: Places, weights: Weights) -> Pipeline:
    """The best choice for some cases, if choosing gains on what the choice did not see; else the first."""
    best = _best_pipeline(table, choices, places, weights)
    if best == choices[0] or len(places) < 2:
        return choices[0]
    inner = [places[part] for part in split_into_folds(len(places))]
    picked = [(part, _best_pipeline(table, choices, np.setdiff1d(places, part), weights)) for part in inner]
    rows = _gather_sums(table, picked, len(table[best].sums))
    gain = _mean_of_cases(rows, places, weights) - _mean_of_cases(table[choices[0]], places, weights)
    return best if gain > LEAST_GAIN else choices[0]


def estimate_gain(after: FiniteSums, before: FiniteSums, weights: Weights) -> Estimate:
    """The gain with its interval over cases; those without any value on either side don't count."""
    there = (after.counts + before.counts).sum(axis=1) > 0
    one, other = (FiniteSums(side.sums[there], side.counts[there]) for side in (after, before))
    return bootstrap.difference_of_sums(one, other, weights=weights)


def pool_sums(each: Sequence[FiniteSums]) -> FiniteSums:
    """Several classes' sums in one."""
    return FiniteSums(
        np.sum([one.sums for one in each], axis=0), np.sum([one.counts for one in each], axis=0)
    )


def mean_score(of: FiniteSums, weights: Weights) -> float:
    """The score over all cases; NaN where there is none."""
    return _mean_of_cases(of, np.arange(len(of.sums)), weights)


def _best_pipeline(table: Table, choices: Sequence[Pipeline], places: Places, weights: Weights) -> Pipeline:
    """Of equals the first."""
    means = [_mean_of_cases(table[one], places, weights) for one in choices]
    return choices[int(np.argmax(np.nan_to_num(means, nan=-np.inf)))]


def _mean_of_cases(of: FiniteSums, places: Places, weights: Weights) -> float:
    some = FiniteSums(of.sums[places].sum(axis=0)[None], of.counts[places].sum(axis=0)[None])
    return float(bootstrap.mean_of_sums(some, weights)[0])


def _gather_sums(table: Table, picked: Sequence[tuple[Places, Pipeline]], cases: int) -> FiniteSums:
    """Rows of several pipelines, each for its own cases; zeros for the cases of none."""
    columns = next(iter(table.values())).sums.shape[1]
    made = FiniteSums(np.zeros((cases, columns)), np.zeros((cases, columns)))
    for places, pipeline in picked:
        made.sums[places] = table[pipeline].sums[places]
        made.counts[places] = table[pipeline].counts[places]
    return made
