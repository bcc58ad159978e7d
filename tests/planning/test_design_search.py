import pytest
from hypothesis import given
from hypothesis import strategies as st

from volseg.planning.design_search import (
    FLATTEST,
    TRIALS,
    ResourceUse,
    UseLine,
    guess_largest,
    largest_fitting,
)

LADDERS = st.sets(st.integers(10**3, 10**8), min_size=1, max_size=200).map(
    lambda sizes: sorted(sizes, reverse=True)
)


def linear(voxels, *, budget, fixed, each, limit=None):
    """A machine on which memory and time are straight lines; what it was asked is in `asked`."""
    asked = []

    def use(number):
        asked.append(number)
        taken = fixed + each * voxels[number]
        return ResourceUse(taken / budget, voxels[number] / limit if limit else 0.0)

    return use, asked


@given(voxels=LADDERS, budget=st.floats(1e8, 1e11), fixed=st.floats(0, 2e9), each=st.floats(1, 1e4))
def test_what_is_chosen_fits_and_uses_most_of_the_memory_or_the_next_does_not_fit(
    voxels, budget, fixed, each
):
    use, asked = linear(voxels, budget=budget, fixed=fixed, each=each)

    chosen = largest_fitting(voxels, use)

    if chosen is None:
        assert use(len(voxels) - 1).memory > 1
        return
    assert use(chosen).memory <= 1
    if len(set(asked)) < TRIALS:
        assert use(chosen).memory >= 0.8 or chosen == 0 or use(chosen - 1).memory > 1


@given(voxels=LADDERS, budget=st.floats(1e8, 1e11), each=st.floats(1, 1e4))
def test_half_the_budget_never_gives_more(voxels, budget, each):
    found = []
    for allowed in (budget, budget / 2):
        chosen = largest_fitting(voxels, linear(voxels, budget=allowed, fixed=5e7, each=each)[0])
        found.append(0 if chosen is None else voxels[chosen])

    assert found[1] <= found[0]


@given(voxels=LADDERS, limit=st.floats(1e2, 1e9))
def test_time_chooses_where_memory_does_not_and_the_smallest_is_taken_if_all_are_slow(voxels, limit):
    chosen = largest_fitting(voxels, linear(voxels, budget=1e15, fixed=0, each=1, limit=limit)[0])

    assert voxels[chosen] <= max(limit, voxels[-1])


@given(voxels=LADDERS)
def test_none_is_tried_twice_and_few_are_tried(voxels):
    use, asked = linear(voxels, budget=1e9, fixed=6e8, each=1000)
    largest_fitting(voxels, use)

    assert len(asked) == len(set(asked)) <= TRIALS


def test_without_any_number_half_as_large_ones_are_tried():
    voxels = [2**n for n in range(30, 10, -1)]

    found = largest_fitting(voxels, lambda n: ResourceUse(float("inf") if voxels[n] > 2**14 else 0.9))

    assert voxels[found] == 2**14


@given(voxels=LADDERS, budget=st.floats(1e8, 1e11), fixed=st.floats(0, 2e9), after=st.integers(1, 9))
def test_when_time_is_over_what_fits_is_taken_and_else_only_the_smallest_is_tried(
    voxels, budget, fixed, after
):
    use, asked = linear(voxels, budget=budget, fixed=fixed, each=1000)

    chosen = largest_fitting(voxels, use, is_over=lambda: len(asked) >= after)

    fitting = [number for number in asked if fixed + 1000 * voxels[number] <= budget]
    assert chosen == (min(fitting) if fitting else None)
    assert len(asked) <= min(after + 1, TRIALS)


@given(voxels=LADDERS)
def test_where_all_take_too_long_to_be_tried_the_smallest_is_the_last(voxels):
    asked = []

    def use(number):
        asked.append(number)
        return ResourceUse(float("inf"), float("inf"))

    assert largest_fitting(voxels, use) is None
    assert asked[-1] == len(voxels) - 1
    assert len(asked) <= TRIALS


@given(fixed=st.floats(0, 0.5), each=st.floats(0.5, 3), sizes=st.sets(st.integers(10, 10**4), min_size=2))
def test_a_straight_line_is_found_and_goes_back_to_its_voxels(fixed, each, sizes):
    points = [(n, fixed + each * n / 10_000) for n in sorted(sizes)]
    line = UseLine.through(points)
    n, value = min(points, key=lambda point: abs(1 - point[1]))

    if each * n / 10_000 >= FLATTEST * value:
        assert line.value_at(5000) == pytest.approx(fixed + each / 2)
    assert line.voxels_at(line.value_at(777)) == pytest.approx(777)


def test_one_disturbed_measurement_of_four_does_not_turn_the_line():
    points = [(1000, 0.2), (2000, 0.9), (3000, 0.6), (4000, 0.8)]  # the second beside another program

    assert UseLine.through(points).voxels_at(1.0) == pytest.approx(2500, rel=0.5)


@given(st.lists(st.tuples(st.integers(1, 10**7), st.floats(0.001, 100)), min_size=1, max_size=6))
def test_whatever_is_measured_the_line_rises_and_has_a_bound(points):
    line = UseLine.through(points)

    assert 0 < line.slope <= line.value / line.voxels * (1 + 1e-9)
    assert line.voxels_at(0.95) < 1e12


def test_what_is_known_from_another_grid_tells_the_first_design_to_try():
    voxels = [8000, 4000, 2000, 1000, 500]
    asked = []

    def use(number):
        asked.append(voxels[number])
        return ResourceUse(voxels[number] / 4500)

    known = [(600, ResourceUse(600 / 4500)), (3000, ResourceUse(3000 / 4500))]
    chosen = largest_fitting(voxels, use, first=guess_largest(voxels, known))

    assert voxels[chosen] == 4000
    assert asked == [4000]


def test_where_more_voxels_took_less_they_count_as_in_proportion():
    assert UseLine.through([(1000, 0.5), (2000, 0.4)]).voxels_at(1.0) == pytest.approx(2000)
