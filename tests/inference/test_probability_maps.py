from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import affines
from volseg.data.preprocessing.grid import NetworkGrid, NetworkInput
from volseg.data.preprocessing.intensity_scaling import Window
from volseg.data.volume import Volume
from volseg.inference.probability_maps import ProbabilityMaps, decision_margins, sigmoid_table
from volseg.model.engines.interface import STEPS

sizes = st.tuples(*[st.integers(1, 12)] * 3)
spacings = st.none() | st.tuples(*[st.floats(0.5, 3.0)] * 3)


def sums(logits: np.ndarray) -> np.ndarray:
    return np.rint(logits * STEPS).astype(np.int16)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


def some(seed: int, classes: int, shape=(4, 3, 2)) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 3, (classes, *shape)).clip(-15, 15)


@given(st.integers(0, 999), st.integers(1, 5))
def test_evidence_is_each_class_against_its_strongest_rival(seed: int, classes: int) -> None:
    logits = sums(some(seed, classes))

    for k, found in enumerate(decision_margins(logits, exclusive=True)):
        rivals = np.stack([np.zeros((4, 3, 2)), *(logits[j] for j in range(classes) if j != k)])
        assert np.array_equal(found, logits[k] - rivals.max(axis=0))


def test_overlapping_classes_are_judged_each_by_itself() -> None:
    logits = sums(some(0, 3))

    assert np.array_equal(np.stack([*decision_margins(logits, exclusive=False)]), logits)


@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        ([2.0, 2.0], [0.5, 0.5]),  # both are as likely, and likelier than the background
        ([0.0, -9.0], [0.5, 0.00012]),  # as likely as the background
        ([0.3, 0.3, 0.5], [0.450, 0.450, 0.550]),  # the likeliest, whose softmax is only .29
        ([31.5, -31.5], [1.0, 0.0]),  # a difference beyond 16 bits
    ],
)
def test_evidence_worked_out_by_hand(logits: list[float], expected: list[float]) -> None:
    found = decision_margins(sums(np.reshape(logits, (-1, 1, 1, 1))), exclusive=True)

    assert [sigmoid(one.item() / STEPS) for one in found] == pytest.approx(expected, abs=1e-3)


@given(st.floats(-31, 31))
def test_the_table_holds_sigmoids(logit: float) -> None:
    bits = sums(np.array([logit])).view(np.uint16)

    assert sigmoid_table(255)[bits][0] == pytest.approx(255 * sigmoid(logit), abs=0.07)


def maps(values: np.ndarray, volume: Volume, spacing, *, passes=1, thick=5, box=None) -> ProbabilityMaps:
    """Maps of logits over a box of the network's grid, given in layers, `passes` times."""
    view = NetworkInput.from_channels([volume], spacing, Window(low=0, high=1))
    made = ProbabilityMaps(NetworkGrid.from_volume(volume, None), exclusive=False, weights=[1] * passes)
    inside = values[:, *(box or view.full_box)]
    for _ in range(passes):
        layers = ((z, sums(inside[..., z : z + thick])) for z in range(0, inside.shape[3], thick))
        made.add_pass(layers, view.grid, box or view.full_box)
    return made


@given(sizes, affines(), st.integers(0, 99), st.integers(1, 6), st.integers(1, 5))
def test_on_the_native_grid_each_voxel_is_its_sigmoid(shape, affine, seed, thick, passes) -> None:
    volume = Volume(np.zeros(shape, np.float32), affine)
    grid = NetworkGrid.from_volume(volume, None)
    logits = some(seed, 2, shape)
    oriented = np.stack([grid.orient(one) for one in logits])

    found = maps(oriented, volume, None, passes=passes, thick=thick)

    for k in range(2):
        error = found.class_probability(k) - 255 * sigmoid(logits[k])
        assert np.abs(error).max() <= 0.6


@given(sizes, affines(), spacings, st.integers(1, 4))
def test_the_way_back_is_the_same_however_thick_the_layers_are(shape, affine, spacing, thick):
    volume = Volume(np.zeros(shape, np.float32), affine)
    grid = NetworkGrid.from_volume(volume, spacing)
    logits = some(3, 1, grid.shape)

    whole = maps(logits, volume, spacing, thick=999).class_probability(0)
    parts = maps(logits, volume, spacing, thick=thick).class_probability(0)

    assert np.abs(whole.astype(int) - parts).max() <= 1  # sums in another order


@given(sizes, affines(), spacings)
def test_the_way_back_is_scipys_linear_interpolation(shape, affine, spacing) -> None:
    from scipy import ndimage

    volume = Volume(np.zeros(shape, np.float32), affine)
    grid = NetworkGrid.from_volume(volume, spacing)
    logits = some(4, 1, grid.shape)
    zoom = np.array(grid.oriented_shape) / grid.shape
    there = sigmoid(sums(logits[0]) / STEPS)
    expected = ndimage.zoom(there, zoom, order=1, mode="nearest", grid_mode=True)

    found = grid.orient(maps(logits, volume, spacing, thick=3).class_probability(0))

    assert np.abs(found - 255 * expected).max() <= 0.51


@given(st.data(), sizes, affines(), spacings)
def test_outside_the_box_nothing_is_found(data, shape, affine, spacing) -> None:
    """A box of certainty comes back as itself where nothing is resampled, and never reaches further."""
    volume = Volume(np.zeros(shape, np.float32), affine)
    grid = NetworkGrid.from_volume(volume, spacing)
    ends = [sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n)))) for n in grid.shape]
    pairs = zip(ends, grid.shape, strict=True)
    box = tuple(slice(min(a, n - 1), max(b, a + 1)) for (a, b), n in pairs)
    logits = np.full((1, *grid.shape), 30.0)
    certain = np.zeros(grid.shape, np.float32)
    certain[box] = 30

    found = maps(logits, volume, spacing, box=box, thick=2).class_probability(0)

    expected = np.full((1, *grid.shape), -30.0)
    expected[0, *box] = 30
    assert np.abs(found.astype(int) - maps(expected, volume, spacing).class_probability(0)).max() <= 1


def test_many_passes_are_averaged_as_probabilities() -> None:
    """By hand: 9, -2 and -4 give (0.99988 + 0.11920 + 0.01799) / 3 = 0.379; as logits it were 0.731."""
    volume = Volume(np.zeros((2, 2, 2), np.float32), np.eye(4))
    grid = NetworkGrid.from_volume(volume, None)
    made = ProbabilityMaps(grid, exclusive=False, weights=[1] * 3)
    for logit in (9.0, -2.0, -4.0):
        made.add_pass([(0, sums(np.full((1, 2, 2, 2), logit)))], grid, (slice(0, 2),) * 3)

    assert (made.class_probability(0) == round(0.379024 * 255)).all()


@given(st.integers(2, 5), st.integers(0, 99))
def test_agreement_is_the_soft_dice_over_all_pairs_of_passes(passes: int, seed: int) -> None:
    shape = (4, 3, 2)
    grid = NetworkGrid.from_volume(Volume(np.zeros(shape, np.float32), np.diag([-1.0, -1, -1, 1])), None)
    logits = some(seed, passes, shape)
    made = ProbabilityMaps(grid, exclusive=False, weights=[1] * passes)
    for one in logits:
        made.add_pass([(0, sums(one[None]))], grid, tuple(slice(0, n) for n in shape))

    p = sigmoid(logits).reshape(passes, -1)
    pairs = list(combinations(p, 2))
    expected = 2 * sum(a @ b for a, b in pairs) / sum(a @ a + b @ b for a, b in pairs)
    found = made.dice_between_passes(0, float((p.mean(axis=0) ** 2).sum()))
    assert found == pytest.approx(expected, abs=2e-3)


def constant(*pairs: tuple[float, float], shape=(2, 2, 2)) -> ProbabilityMaps:
    """Maps of passes of one logit each, by pairs of logit and weight."""
    grid = NetworkGrid.from_volume(Volume(np.zeros(shape, np.float32), np.eye(4)), None)
    made = ProbabilityMaps(grid, exclusive=False, weights=[weight for _, weight in pairs])
    for logit, _ in pairs:
        made.add_pass([(0, sums(np.full((1, *shape), logit)))], grid, tuple(slice(0, n) for n in shape))
    return made


def test_passes_are_averaged_by_their_weights() -> None:
    """By hand: 0.6 of sigmoid(9) and 0.4 of sigmoid(-2) give 0.59993 + 0.04768 = 0.64761."""
    assert (constant((9.0, 0.6), (-2.0, 0.4)).class_probability(0) == round(0.64761 * 255)).all()


logits_and_weights = st.lists(st.tuples(st.floats(-15, 15), st.floats(0.01, 100)), min_size=1, max_size=5)


@given(logits_and_weights, st.randoms(use_true_random=False))
def test_weights_act_by_their_proportions_in_any_order(pairs, random) -> None:
    turned = random.sample(pairs, len(pairs))
    expected = 255 * sum(w * sigmoid(x) for x, w in pairs) / sum(w for _, w in pairs)

    found = constant(*pairs).class_probability(0)

    assert np.abs(found - expected).max() <= 0.6
    assert np.array_equal(found, constant(*turned).class_probability(0))
    assert np.array_equal(found, constant(*((x, 4 * w) for x, w in pairs)).class_probability(0))


@given(st.lists(st.floats(-15, 15), min_size=2, max_size=5), st.floats(0.01, 100))
def test_equal_weights_are_the_plain_mean_bit_for_bit(logits, weight: float) -> None:
    weighted, plain = (constant(*((x, w) for x in logits)) for w in (weight, 1))

    assert np.array_equal(weighted.class_probability(0), plain.class_probability(0))
    assert weighted.dice_between_passes(0, 1.0) == plain.dice_between_passes(0, 1.0)


@given(st.floats(-15, 15), st.floats(-15, 15), st.booleans())
def test_a_pass_of_weight_0_leaves_the_other_as_it_is_alone(own: float, other: float, first: bool) -> None:
    pairs = [(own, 1.0), (other, 0.0)]

    found = constant(*(pairs if first else pairs[::-1]))

    assert np.array_equal(found.class_probability(0), constant((own, 1.0)).class_probability(0))


@given(logits_and_weights.filter(lambda pairs: len(pairs) > 1))
def test_the_mean_of_fine_maps_is_that_of_their_passes_in_one(pairs) -> None:
    parts = []
    for logit, _ in pairs:
        grid = NetworkGrid.from_volume(Volume(np.zeros((2, 2, 2), np.float32), np.eye(4)), None)
        parts.append(ProbabilityMaps(grid, exclusive=False, fine=True))
        parts[-1].add_pass([(0, sums(np.full((1, 2, 2, 2), logit)))], grid, (slice(0, 2),) * 3)

    found = ProbabilityMaps.weighted_mean(parts, [weight for _, weight in pairs])

    exact = 255 * sum(w * sigmoid(x) for x, w in pairs) / sum(w for _, w in pairs)
    assert np.abs(found.class_probability(0) - exact).max() <= 0.6
    assert all(one.most == 65535 for one in parts)


@given(st.integers(2, 4), st.integers(0, 99))
def test_in_the_agreement_a_pair_counts_by_the_product_of_its_weights(passes: int, seed: int) -> None:
    shape = (4, 3, 2)
    grid = NetworkGrid.from_volume(Volume(np.zeros(shape, np.float32), np.diag([-1.0, -1, -1, 1])), None)
    logits = some(seed, passes, shape)
    weights = np.random.default_rng(seed).uniform(0.1, 1, passes)
    made = ProbabilityMaps(grid, exclusive=False, weights=list(weights))
    for one in logits:
        made.add_pass([(0, sums(one[None]))], grid, tuple(slice(0, n) for n in shape))

    p = sigmoid(logits).reshape(passes, -1)
    pairs = [(weights[i] * weights[j], p[i], p[j]) for i, j in combinations(range(passes), 2)]
    expected = 2 * sum(w * (a @ b) for w, a, b in pairs) / sum(w * (a @ a + b @ b) for w, a, b in pairs)
    mean = weights @ p / weights.sum()
    assert made.dice_between_passes(0, float((mean**2).sum())) == pytest.approx(expected, abs=2e-3)


def test_one_pass_has_nothing_to_agree_with() -> None:
    volume = Volume(np.zeros((2, 2, 2), np.float32), np.eye(4))

    assert maps(np.full((1, 2, 2, 2), 5.0), volume, None).dice_between_passes(0, 1.0) is None
