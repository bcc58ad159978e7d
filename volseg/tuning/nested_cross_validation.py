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
from volseg.evaluation.bootstrap import Estimate, Sums
from volseg.tuning.search_space import Pipeline, Slot

Table = Mapping[Pipeline, Sums]
Places = npt.NDArray[np.intp]
"""Which rows of a table, each of which is a case."""
PARTS, SEED = 5, 0
LEAST_CASES = 3
"""With fewer there is nothing to choose on while one is judged."""
LEAST_GAIN = 1e-4
"""Less is no reason for one more step."""
Weights = Sequence[float] | None


@dataclass(frozen=True)
class Judged:
    """What was found for one place, and what choosing there gained on cases that took no part in it."""

    slot: Slot
    before: Pipeline
    after: Pipeline
    gain: Estimate

    @property
    def kept(self) -> bool:
        """Whether it changes something, for the better."""
        return self.after != self.before and self.gain.mean > LEAST_GAIN


@dataclass
class Course:
    """One class on its way through the places: the pipeline that each part's others have chosen so far.

    The last of `held` is chosen on all cases. `start` is the pipeline in use.
    """

    start: Pipeline
    cases: int
    weights: Weights
    held: list[Pipeline] = field(init=False)
    judged: list[Judged] = field(default_factory=list)
    before: Sums = field(init=False)
    after: Sums = field(init=False)

    def __post_init__(self) -> None:
        self._parts = parts(self.cases)
        self.held = [self.start] * (len(self._parts) + 1)

    def wanted(self, slot: Slot) -> list[Pipeline]:
        """The pipelines whose scores it takes to choose for this place."""
        return list(dict.fromkeys(one for held in self.held for one in slot.choices(held)))

    def settle(self, slot: Slot, table: Table) -> None:
        """Choose for this place, on the cases without each part and on all."""
        every = np.arange(self.cases)
        others = [*(np.setdiff1d(every, part) for part in self._parts), every]
        new = [
            chosen(table, slot.choices(held), places, self.weights)
            for held, places in zip(self.held, others, strict=True)
        ]
        before, after = self._left_out(table, self.held), self._left_out(table, new)
        gain = gain_of(after, before, self.weights)
        self.judged.append(Judged(slot, self.held[-1], new[-1], gain))
        if len(self.judged) == 1:
            self.before = before
        self.after, self.held = after, new

    @property
    def gain(self) -> Estimate:
        """What all places together gain, on cases that took no part in choosing."""
        return gain_of(self.after, self.before, self.weights)

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline in use with what is kept."""
        made = self.start
        for one in self.judged:
            if one.kept:
                made = one.slot.filled(made, one.slot.of(one.after))
        return made

    def _left_out(self, table: Table, held: Sequence[Pipeline]) -> Sums:
        """Each case's row of the pipeline that was chosen without it."""
        return _gathered(table, list(zip(self._parts, held[:-1], strict=True)), self.cases)


def parts(cases: int) -> list[Places]:
    """The cases, by their places, in up to five parts of nearly the same size, drawn once for all."""
    order = np.random.default_rng(SEED).permutation(cases)
    return [np.sort(part) for part in np.array_split(order, min(PARTS, cases))]


def chosen(table: Table, choices: Sequence[Pipeline], places: Places, weights: Weights) -> Pipeline:
    """The best choice for some cases, if choosing gains on what the choice did not see; else the first."""
    best = _best(table, choices, places, weights)
    if best == choices[0] or len(places) < 2:
        return choices[0]
    inner = [places[part] for part in parts(len(places))]
    picked = [(part, _best(table, choices, np.setdiff1d(places, part), weights)) for part in inner]
    rows = _gathered(table, picked, len(table[best].sums))
    gain = _mean(rows, places, weights) - _mean(table[choices[0]], places, weights)
    return best if gain > LEAST_GAIN else choices[0]


def gain_of(after: Sums, before: Sums, weights: Weights) -> Estimate:
    """The gain with its interval over cases; those without any value on either side don't count."""
    there = (after.counts + before.counts).sum(axis=1) > 0
    one, other = (Sums(side.sums[there], side.counts[there]) for side in (after, before))
    return bootstrap.difference_of(one, other, weights=weights)


def pooled(each: Sequence[Sums]) -> Sums:
    """Several classes' sums in one."""
    return Sums(
        np.sum([one.sums for one in each], axis=0), np.sum([one.counts for one in each], axis=0)
    )


def mean(of: Sums, weights: Weights) -> float:
    """The score over all cases; NaN where there is none."""
    return _mean(of, np.arange(len(of.sums)), weights)


def _best(table: Table, choices: Sequence[Pipeline], places: Places, weights: Weights) -> Pipeline:
    """Of equals the first."""
    means = [_mean(table[one], places, weights) for one in choices]
    return choices[int(np.argmax(np.nan_to_num(means, nan=-np.inf)))]


def _mean(of: Sums, places: Places, weights: Weights) -> float:
    some = Sums(of.sums[places].sum(axis=0)[None], of.counts[places].sum(axis=0)[None])
    return float(bootstrap.mean_of(some, weights)[0])


def _gathered(table: Table, picked: Sequence[tuple[Places, Pipeline]], cases: int) -> Sums:
    """Rows of several pipelines, each for its own cases; zeros for the cases of none."""
    columns = next(iter(table.values())).sums.shape[1]
    made = Sums(np.zeros((cases, columns)), np.zeros((cases, columns)))
    for places, pipeline in picked:
        made.sums[places] = table[pipeline].sums[places]
        made.counts[places] = table[pipeline].counts[places]
    return made
