from hypothesis import given
from hypothesis import strategies as st

from volseg.planning.design_search import TRIALS, ResourceUse, largest_fitting

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

    assert len(asked) == len(set(asked)) <= 2 * TRIALS


def test_without_any_number_half_as_large_ones_are_tried():
    voxels = [2**n for n in range(30, 10, -1)]

    found = largest_fitting(voxels, lambda n: ResourceUse(float("inf") if voxels[n] > 2**14 else 0.9))

    assert voxels[found] == 2**14
