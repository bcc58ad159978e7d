import math
from zlib import crc32

import numpy as np
import pytest

from volseg.evaluation.bootstrap import FiniteSums
from volseg.postprocessing import DropSmall, Threshold
from volseg.tuning import nested_cross_validation
from volseg.tuning.nested_cross_validation import (
    ClassSearch,
    choose_pipeline,
    estimate_gain,
    pool_sums,
    split_into_folds,
)
from volseg.tuning.search_space import SEARCH_DIMENSIONS, SearchDimension

START_HERE = (Threshold(value=0.5),)
SMALL = next(slot for slot in SEARCH_DIMENSIONS if slot.name == "drop_small")


def sums(values) -> FiniteSums:
    """One value a case."""
    column = np.asarray(values, float)[:, None]
    return FiniteSums(column, np.ones_like(column))


def table(course: ClassSearch, slot: SearchDimension, score) -> dict:
    """What `score(pipeline)` says each case has, (cases,)."""
    return {pipeline: sums(score(pipeline)) for pipeline in course.pipelines_to_score(slot)}


def run(cases: int, score, start=START_HERE) -> ClassSearch:
    course = ClassSearch(start, cases, None)
    for slot in SEARCH_DIMENSIONS:
        course.choose(slot, table(course, slot, score))
    return course


def noise(seed: int, cases: int):
    """Scores that no setting has any part in: each pipeline's are drawn for themselves."""
    drawn: dict = {}

    def score(pipeline):
        if pipeline not in drawn:
            drawn[pipeline] = np.random.default_rng([seed, len(drawn)]).normal(0.8, 0.1, cases)
        return drawn[pipeline]

    return score


def at(pipeline, name: str):
    return next((step for step in pipeline if step.name == name), None)


@pytest.mark.parametrize("cases", [1, 2, 3, 5, 8, 16, 23])
def test_every_case_is_in_one_part_and_parts_are_alike_in_size(cases) -> None:
    found = split_into_folds(cases)

    assert sorted(np.concatenate(found).tolist()) == list(range(cases))
    assert len(found) == min(5, cases)
    assert max(map(len, found)) - min(map(len, found)) <= 1


def test_where_nothing_matters_the_told_gain_is_not_above_0_though_the_naive_one_is() -> None:
    """The honest-gain law: over many draws of pure noise."""
    told, naive = [], []
    for seed in range(60):
        score = noise(seed, 12)
        course = run(12, score)
        told.append(course.gain.mean)
        naive.append(np.mean(score(course.fold_pipelines[-1])) - np.mean(score(START_HERE)))

    error = np.std(told) / math.sqrt(len(told))
    assert np.mean(told) < 2 * error
    assert np.mean(naive) > 0.02
    assert np.mean(naive) > np.mean(told) + 4 * error


def test_a_step_that_helps_is_found_with_its_setting_and_its_gain() -> None:
    right = 1000

    def score(pipeline):
        small = at(pipeline, "drop_small")
        bonus = 0.1 if small and small.min_mm3 == right else 0.0
        return np.linspace(0.6, 0.8, 10) + bonus

    course = run(10, score)

    assert course.pipeline == (*START_HERE, DropSmall(min_mm3=right))
    assert course.gain.mean == pytest.approx(0.1)
    assert (course.gain.low, course.gain.high) == pytest.approx((0.1, 0.1))
    assert [one.dimension.name for one in course.results if one.is_improvement] == ["drop_small"]


def test_a_step_in_use_that_harms_is_taken_out() -> None:
    start = (*START_HERE, DropSmall(min_mm3=500))

    course = run(8, lambda pipeline: np.full(8, 0.7 if at(pipeline, "drop_small") else 0.9), start)

    assert course.pipeline == START_HERE
    assert course.gain.mean == pytest.approx(0.2)


def test_where_all_score_alike_nothing_changes_and_the_gain_is_nil() -> None:
    course = run(9, lambda _: np.linspace(0.5, 0.9, 9))

    assert course.pipeline == START_HERE
    assert not any(one.is_improvement for one in course.results)
    assert course.gain.mean == 0


def test_what_one_part_scores_has_no_part_in_what_is_chosen_without_it() -> None:
    cases, place = 12, 2
    score = noise(3, cases)
    part = split_into_folds(cases)[place]

    def spoilt(pipeline):
        changed = score(pipeline).copy()
        changed[part] = np.random.default_rng(crc32(repr(pipeline).encode())).normal(size=len(part))
        return changed

    one, other = ClassSearch(START_HERE, cases, None), ClassSearch(START_HERE, cases, None)
    for slot in SEARCH_DIMENSIONS:
        wanted = list(dict.fromkeys([*one.pipelines_to_score(slot), *other.pipelines_to_score(slot)]))
        one.choose(slot, {pipeline: sums(score(pipeline)) for pipeline in wanted})
        other.choose(slot, {pipeline: sums(spoilt(pipeline)) for pipeline in wanted})
        assert one.fold_pipelines[place] == other.fold_pipelines[place]
    assert one.fold_pipelines[-1] != other.fold_pipelines[-1]  # which all cases have a part in


def test_the_choice_looks_at_its_own_cases_only() -> None:
    choices = SMALL.choices(START_HERE)
    places = np.array([0, 2, 3, 5, 6, 7])
    rng = np.random.default_rng(0)
    found = {one: sums(rng.normal(size=9)) for one in choices}
    elsewhere = {
        one: sums([v if n in places else 99 * rng.normal() for n, v in enumerate(of.sums[:, 0])])
        for one, of in found.items()
    }

    assert choose_pipeline(found, choices, places, None) == choose_pipeline(elsewhere, choices, places, None)


def test_three_cases_by_hand(monkeypatch) -> None:
    """Parts {0}, {1}, {2}; two choices: as it is, A.

    case         0    1    2
    as it is    .5   .5   .5
    A           .6   .6   .2

    Without 0, of 1 and 2: A has .4 on the mean, as it is .5: as it is.
    Without 1, of 0 and 2: the same. Without 2, of 0 and 1: A (.6); inner, each of the two chooses A for
    the other: gain .1, kept. So the cases are judged by: 0 as it is, 1 as it is, 2 by A: .2 for .5.
    On all: A has 1.4 / 3 < .5: as it is.
    """
    monkeypatch.setattr(
        nested_cross_validation, "split_into_folds", lambda n: [np.array([k]) for k in range(n)]
    )
    slot = SearchDimension("drop_small", (DropSmall(min_mm3=500),))
    one = slot.with_step(START_HERE, slot.settings[0])
    course = ClassSearch(START_HERE, 3, None)

    course.choose(slot, {START_HERE: sums([0.5] * 3), one: sums([0.6, 0.6, 0.2])})

    assert course.fold_pipelines == [START_HERE, START_HERE, one, START_HERE]
    assert course.after.sums.ravel().tolist() == [0.5, 0.5, 0.2]
    assert course.gain.mean == pytest.approx(-0.1)
    assert course.pipeline == START_HERE


def test_the_best_is_not_chosen_if_choosing_so_fails_where_it_was_not_looked() -> None:
    """A is best by one case's score. Of five parts of one case: without that case A is not chosen, so it
    is judged as it is (.5); the other four are judged by A (.4). Gain: -.08."""
    slot = SearchDimension("drop_small", (DropSmall(min_mm3=500),))
    choices = slot.choices(START_HERE)
    found = {START_HERE: sums([0.5] * 5)} | dict.fromkeys(choices[1:], sums([3, 0.4, 0.4, 0.4, 0.4]))

    assert np.mean(found[choices[1]].sums) > 0.5
    assert choose_pipeline(found, choices, np.arange(5), None) == START_HERE


def test_chosen_on_all_but_no_gain_on_what_was_left_out_is_not_kept(monkeypatch) -> None:
    """On all cases, and on most, A is best by one case's score; without that case it is worst."""
    slot = SearchDimension("drop_small", (DropSmall(min_mm3=500),))
    one = slot.with_step(START_HERE, slot.settings[0])
    monkeypatch.setattr(nested_cross_validation, "LEAST_GAIN", -1.0)  # the inner loop keeps whatever is best
    course = ClassSearch(START_HERE, 5, None)
    course.choose(slot, {START_HERE: sums([0.5] * 5), one: sums([3.0, 0.4, 0.4, 0.4, 0.4])})
    monkeypatch.undo()

    assert course.fold_pipelines[-1] == one
    assert course.gain.mean == pytest.approx(-0.08)  # four judged by A (.4), the one as it is
    assert course.pipeline == START_HERE


def test_steps_add_up_to_what_all_gain_together() -> None:
    course = run(12, noise(7, 12))

    assert sum(one.gain.mean for one in course.results) == pytest.approx(course.gain.mean)


def test_an_organ_that_is_invented_where_there_was_nothing_to_measure_costs() -> None:
    before = FiniteSums(np.array([[1.8], [0.0]]), np.array([[2.0], [0.0]]))  # the second case has none
    after = FiniteSums(np.array([[1.8], [0.0]]), np.array([[2.0], [1.0]]))  # and now a 0

    assert estimate_gain(after, before, None).mean == pytest.approx(1.8 / 3 - 0.9)
    assert estimate_gain(after, before, None).cases == 2


def test_fewer_than_eight_cases_have_no_interval() -> None:
    course = run(7, lambda pipeline: np.full(7, 0.9 if at(pipeline, "fill_holes") else 0.7))

    assert course.gain.mean == pytest.approx(0.2)
    assert not course.gain.has_interval


def test_classes_are_pooled_by_their_sums() -> None:
    both = pool_sums(
        [FiniteSums(np.ones((2, 1)), np.ones((2, 1))), FiniteSums(np.zeros((2, 1)), np.ones((2, 1)))]
    )

    assert nested_cross_validation.mean_score(both, None) == 0.5
