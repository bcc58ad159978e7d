import math
from zlib import crc32

import numpy as np
import pytest

from volseg.evaluation.bootstrap import Sums
from volseg.postprocessing import DropSmall, Threshold
from volseg.tuning import nested_cross_validation
from volseg.tuning.nested_cross_validation import Course, chosen, gain_of, parts, pooled
from volseg.tuning.search_space import SLOTS, Slot

START_HERE = (Threshold(value=0.5),)
SMALL = next(slot for slot in SLOTS if slot.name == "drop_small")


def sums(values) -> Sums:
    """One value a case."""
    column = np.asarray(values, float)[:, None]
    return Sums(column, np.ones_like(column))


def table(course: Course, slot: Slot, score) -> dict:
    """What `score(pipeline)` says each case has, (cases,)."""
    return {pipeline: sums(score(pipeline)) for pipeline in course.wanted(slot)}


def run(cases: int, score, start=START_HERE) -> Course:
    course = Course(start, cases, None)
    for slot in SLOTS:
        course.settle(slot, table(course, slot, score))
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
    found = parts(cases)

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
        naive.append(np.mean(score(course.held[-1])) - np.mean(score(START_HERE)))

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
    assert [one.slot.name for one in course.judged if one.kept] == ["drop_small"]


def test_a_step_in_use_that_harms_is_taken_out() -> None:
    start = (*START_HERE, DropSmall(min_mm3=500))

    course = run(8, lambda pipeline: np.full(8, 0.7 if at(pipeline, "drop_small") else 0.9), start)

    assert course.pipeline == START_HERE
    assert course.gain.mean == pytest.approx(0.2)


def test_where_all_score_alike_nothing_changes_and_the_gain_is_nil() -> None:
    course = run(9, lambda _: np.linspace(0.5, 0.9, 9))

    assert course.pipeline == START_HERE
    assert not any(one.kept for one in course.judged)
    assert course.gain.mean == 0


def test_what_one_part_scores_has_no_part_in_what_is_chosen_without_it() -> None:
    cases, place = 12, 2
    score = noise(3, cases)
    part = parts(cases)[place]

    def spoilt(pipeline):
        changed = score(pipeline).copy()
        changed[part] = np.random.default_rng(crc32(repr(pipeline).encode())).normal(size=len(part))
        return changed

    one, other = Course(START_HERE, cases, None), Course(START_HERE, cases, None)
    for slot in SLOTS:
        wanted = list(dict.fromkeys([*one.wanted(slot), *other.wanted(slot)]))
        one.settle(slot, {pipeline: sums(score(pipeline)) for pipeline in wanted})
        other.settle(slot, {pipeline: sums(spoilt(pipeline)) for pipeline in wanted})
        assert one.held[place] == other.held[place]
    assert one.held[-1] != other.held[-1]  # which all cases have a part in


def test_the_choice_looks_at_its_own_cases_only() -> None:
    choices = SMALL.choices(START_HERE)
    places = np.array([0, 2, 3, 5, 6, 7])
    rng = np.random.default_rng(0)
    found = {one: sums(rng.normal(size=9)) for one in choices}
    elsewhere = {
        one: sums([v if n in places else 99 * rng.normal() for n, v in enumerate(of.sums[:, 0])])
        for one, of in found.items()
    }

    assert chosen(found, choices, places, None) == chosen(elsewhere, choices, places, None)


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
        nested_cross_validation, "parts", lambda n: [np.array([k]) for k in range(n)]
    )
    slot = Slot("drop_small", (DropSmall(min_mm3=500),), 1)
    one = slot.filled(START_HERE, slot.settings[0])
    course = Course(START_HERE, 3, None)

    course.settle(slot, {START_HERE: sums([0.5] * 3), one: sums([0.6, 0.6, 0.2])})

    assert course.held == [START_HERE, START_HERE, one, START_HERE]
    assert course.after.sums.ravel().tolist() == [0.5, 0.5, 0.2]
    assert course.gain.mean == pytest.approx(-0.1)
    assert course.pipeline == START_HERE


def test_the_best_is_not_chosen_if_choosing_so_fails_where_it_was_not_looked() -> None:
    """A is best by one case's score. Of five parts of one case: without that case A is not chosen, so it
    is judged as it is (.5); the other four are judged by A (.4). Gain: -.08."""
    slot = Slot("drop_small", (DropSmall(min_mm3=500),), 1)
    choices = slot.choices(START_HERE)
    found = {START_HERE: sums([0.5] * 5)} | dict.fromkeys(
        choices[1:], sums([3, 0.4, 0.4, 0.4, 0.4])
    )

    assert np.mean(found[choices[1]].sums) > 0.5
    assert chosen(found, choices, np.arange(5), None) == START_HERE


def test_chosen_on_all_but_no_gain_on_what_was_left_out_is_not_kept(monkeypatch) -> None:
    """On all cases, and on most, A is best by one case's score; without that case it is worst."""
    slot = Slot("drop_small", (DropSmall(min_mm3=500),), 1)
    one = slot.filled(START_HERE, slot.settings[0])
    monkeypatch.setattr(
        nested_cross_validation, "LEAST_GAIN", -1.0
    )  # the inner loop keeps whatever is best
    course = Course(START_HERE, 5, None)
    course.settle(slot, {START_HERE: sums([0.5] * 5), one: sums([3.0, 0.4, 0.4, 0.4, 0.4])})
    monkeypatch.undo()

    assert course.held[-1] == one
    assert course.gain.mean == pytest.approx(-0.08)  # four judged by A (.4), the one as it is
    assert course.pipeline == START_HERE


def test_steps_add_up_to_what_all_gain_together() -> None:
    course = run(12, noise(7, 12))

    assert sum(one.gain.mean for one in course.judged) == pytest.approx(course.gain.mean)


def test_an_organ_that_is_invented_where_there_was_nothing_to_measure_costs() -> None:
    before = Sums(np.array([[1.8], [0.0]]), np.array([[2.0], [0.0]]))  # the second case has none
    after = Sums(np.array([[1.8], [0.0]]), np.array([[2.0], [1.0]]))  # and now a 0

    assert gain_of(after, before, None).mean == pytest.approx(1.8 / 3 - 0.9)
    assert gain_of(after, before, None).cases == 2


def test_fewer_than_eight_cases_have_no_interval() -> None:
    course = run(7, lambda pipeline: np.full(7, 0.9 if at(pipeline, "fill_holes") else 0.7))

    assert course.gain.mean == pytest.approx(0.2)
    assert not course.gain.known


def test_classes_are_pooled_by_their_sums() -> None:
    both = pooled([Sums(np.ones((2, 1)), np.ones((2, 1))), Sums(np.zeros((2, 1)), np.ones((2, 1)))])

    assert nested_cross_validation.mean(both, None) == 0.5
