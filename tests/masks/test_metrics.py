"""Laws of the metrics; distances are derived by hand or by other implementations."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydantic import TypeAdapter

from volseg.masks import comparison
from volseg.masks.comparison import Comparison
from volseg.masks.metrics import DEFAULT, HD, HD95, Dice, Metric, SurfaceDice, Volume, measure
from volseg.schema import members

SPACING = (1.5, 2.0, 3.0)
LISTED = [kind() for kind in members(Metric).values()]
METRICS = list({metric.label: metric for metric in [*LISTED, *DEFAULT]}.values())
every_metric = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.label)
SYMMETRIC = [metric for metric in METRICS if not isinstance(metric, Volume)]
every_symmetric = pytest.mark.parametrize("metric", SYMMETRIC, ids=lambda metric: metric.label)
DISTANCES = [HD(), HD95()]


@st.composite
def pairs(draw, max_side=5):
    shape = draw(arrays.array_shapes(min_dims=3, max_dims=3, max_side=max_side))
    sparse = st.sampled_from([True, False, False])
    return (
        draw(arrays.arrays(bool, shape, elements=sparse)),
        draw(arrays.arrays(bool, shape, elements=sparse)),
    )


def same(one, other):
    return one == pytest.approx(other, rel=1e-9, nan_ok=True)


def voxels(*places, shape=(9, 9, 9)):
    mask = np.zeros(shape, bool)
    for place in places:
        mask[place] = True
    return mask


# ---- what holds for every metric


@every_symmetric
@given(pair=pairs())
def test_truth_and_prediction_may_be_swapped(metric, pair):
    forth, back = Comparison(*pair, SPACING), Comparison(*pair[::-1], SPACING)

    assert same(metric(forth), metric(back))


@every_metric
@given(pair=pairs(), order=st.permutations(range(3)))
def test_the_order_of_the_axes_does_not_matter(metric, pair, order):
    turned = [mask.transpose(order) for mask in pair]
    spacing = tuple(SPACING[axis] for axis in order)

    assert same(metric(Comparison(*turned, spacing)), metric(Comparison(*pair, SPACING)))


@every_metric
@given(pair=pairs(), axis=st.integers(0, 2))
def test_flips_do_not_matter(metric, pair, axis):
    flipped = [np.flip(mask, axis) for mask in pair]

    assert same(metric(Comparison(*flipped, SPACING)), metric(Comparison(*pair, SPACING)))


@every_metric
@given(pair=pairs(), low=st.integers(0, 3), high=st.integers(0, 3))
def test_empty_space_around_does_not_matter(metric, pair, low, high):
    wider = [np.pad(mask, (low, high)) for mask in pair]

    assert same(metric(Comparison(*wider, SPACING)), metric(Comparison(*pair, SPACING)))


@every_metric
@given(pair=pairs())
def test_the_order_in_memory_does_not_matter(metric, pair):
    other = [np.asfortranarray(mask) for mask in pair]

    assert same(metric(Comparison(*other, SPACING)), metric(Comparison(*pair, SPACING)))


@given(pair=pairs(), factor=st.sampled_from([0.25, 3.0, 10.0]))
def test_scaling_the_spacing_scales_distances_and_volumes_and_leaves_overlap(pair, factor):
    small = Comparison(*pair, SPACING)
    large = Comparison(*pair, tuple(side * factor for side in SPACING))

    for metric in DISTANCES:
        assert same(metric(large), metric(small) * factor)
    assert same(Volume()(large), Volume()(small) * factor**3)
    assert same(Dice()(large), Dice()(small))
    near, far = SurfaceDice(tolerance_mm=2.5), SurfaceDice(tolerance_mm=2.5 * factor)
    assert same(far(large), near(small))


@given(pairs())
def test_equal_masks_are_perfect(pair):
    assume(pair[0].any())
    values = measure(Comparison(pair[0], pair[0], SPACING))

    assert (values["Dice"], values["NSD2"], values["NSD3"]) == (1, 1, 1)
    assert (values["HD"], values["HD95"]) == (0, 0)
    assert values["volume_ml"] == values["truth_ml"]


def test_scores_have_these_names():
    masks = voxels((1, 1, 1))

    assert list(measure(Comparison(masks, masks, SPACING))) == [
        "Dice", "HD", "HD95", "NSD2", "NSD3", "volume_ml", "truth_ml",
    ]  # fmt: skip


def test_a_metric_may_be_chosen_by_name():
    read = TypeAdapter(Metric).validate_python

    assert read("dice") == Dice()
    assert read({"name": "surface_dice", "tolerance_mm": 1.5}).label == "NSD1.5"


# ---- empty masks

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("metric", "both", "truth_empty", "prediction_empty"),
    [
        (Dice(), NAN, 0, 0),
        (HD(), NAN, INF, INF),
        (HD95(), NAN, INF, INF),
        (SurfaceDice(), NAN, 0, 0),
        (Volume(), 0, 0.009, 0),  # one voxel of 1.5 x 2 x 3 mm³
        (Volume(of="truth"), 0, 0, 0.009),
    ],
    ids=lambda value: getattr(value, "label", None),
)
def test_empty_masks_give_what_the_table_says(metric, both, truth_empty, prediction_empty):
    empty, full = voxels(), voxels((1, 1, 1))

    assert same(metric(Comparison(empty, empty, SPACING)), both)
    assert same(metric(Comparison(empty, full, SPACING)), truth_empty)
    assert same(metric(Comparison(full, empty, SPACING)), prediction_empty)


def test_distances_to_an_empty_mask_are_refused():
    with pytest.raises(ValueError, match="empty mask"):
        _ = Comparison(voxels((1, 1, 1)), voxels(), SPACING).surface_distances_mm


def test_masks_of_two_shapes_are_refused():
    with pytest.raises(ValueError, match=r"truth is \(9, 9, 9\), prediction \(8, 9, 9\)"):
        Comparison(voxels(), voxels(shape=(8, 9, 9)), SPACING)


# ---- by hand


def test_dice_counts_voxels():
    # 3 and 2 voxels, 1 shared: 2 * 1 / 5
    truth = voxels((0, 0, 0), (1, 0, 0), (2, 0, 0))
    prediction = voxels((2, 0, 0), (3, 0, 0))

    assert Dice()(Comparison(truth, prediction, SPACING)) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("place", "expected"),
    [((4, 1, 1), 4.5), ((1, 4, 1), 6), ((1, 1, 4), 9), ((4, 4, 4), math.sqrt(4.5**2 + 36 + 81))],
)
def test_two_voxels_are_apart_by_steps_times_the_spacing_of_their_axis(place, expected):
    compared = Comparison(voxels((1, 1, 1)), voxels(place), SPACING)

    assert HD()(compared) == pytest.approx(expected)
    assert HD95()(compared) == pytest.approx(expected)


def test_hausdorff_takes_the_worse_direction():
    # every predicted voxel is a true one, but the true voxel 5 steps of 1.5 mm away is missed
    truth, prediction = voxels((1, 1, 1), (6, 1, 1)), voxels((1, 1, 1))

    assert HD()(Comparison(truth, prediction, SPACING)) == pytest.approx(7.5)
    assert HD()(Comparison(prediction, truth, SPACING)) == pytest.approx(7.5)


def test_hausdorff_counts_the_inside_of_a_mask():
    # a full cube of 7 against its own shell: surfaces agree, the middle is 3 voxels from the shell
    full = np.ones((7, 7, 7), bool)
    shell = full.copy()
    shell[1:-1, 1:-1, 1:-1] = False

    assert HD()(Comparison(full, shell, (1.0, 1.0, 1.0))) == 3
    assert HD95()(Comparison(full, shell, (1.0, 1.0, 1.0))) == 0


def test_hd95_interpolates_the_95th_percentile():
    # truth: 21 voxels in a row; prediction: the same and one 10 voxels beyond the end. Ways from the
    # 22 predicted voxels: 21 times 0, once 10. Place .95 * 21 = 19.95: between two zeros
    truth = np.zeros((40, 1, 1), bool)
    truth[:21] = True
    prediction = truth.copy()
    prediction[30] = True
    assert HD95()(Comparison(truth, prediction, (1.0, 1.0, 1.0))) == 0

    # with 11 voxels in the row: place .95 * 11 = 10.45 of ten zeros, zero, 10: 0.45 of the last step
    truth[11:] = prediction[11:21] = False
    prediction[30], prediction[20] = False, True
    assert HD95()(Comparison(truth, prediction, (1.0, 1.0, 1.0))) == pytest.approx(0.45 * 10)


def test_surface_dice_of_two_slabs_goes_with_the_tolerance():
    # two single voxels 3 mm apart: surfaces (cells around them) are 3 mm - 1.5 mm apart at best:
    # the voxels at x = 1 and x = 3 (spacing 1.5) have cells at x = 1, 2 and x = 3, 4. The nearer half
    # of either surface is one cell = 1.5 mm from the other, the farther half two = 3 mm
    compared = Comparison(voxels((1, 1, 1)), voxels((3, 1, 1)), SPACING)

    assert SurfaceDice(tolerance_mm=1.4)(compared) == 0
    assert SurfaceDice(tolerance_mm=1.5)(compared) == pytest.approx(0.5)
    assert SurfaceDice(tolerance_mm=2.9)(compared) == pytest.approx(0.5)
    assert SurfaceDice(tolerance_mm=3)(compared) == pytest.approx(1)


def test_surface_dice_weighs_surface_by_its_area():
    # cells of one voxel: 8 triangles of one area; a plate of 1 x 5 x 5 has flat faces as well. A voxel
    # far from a plate both share: its area counts, not its number of cells
    plate = np.zeros((3, 20, 5), bool)
    plate[1, :5] = True
    with_voxel = plate.copy()
    with_voxel[1, 15, 2] = True
    compared = Comparison(plate, with_voxel, (1.0, 1.0, 1.0))
    voxel = math.sqrt(3)
    area = compared.surface_elements[0].areas_mm2.sum()

    assert compared.surface_elements[1].areas_mm2.sum() == pytest.approx(area + voxel)
    assert SurfaceDice()(compared) == pytest.approx(2 * area / (2 * area + voxel))


def test_volumes_are_in_millilitres():
    # 1000 voxels of 9 mm³ = 9 ml
    mask = np.ones((10, 10, 10), bool)

    assert Volume()(Comparison(mask, mask, SPACING)) == pytest.approx(9)


def test_float32_voxel_sizes_do_not_move_a_surface_over_the_tolerance():
    wide = np.nextafter(np.float32(3), np.float32(4))
    compared = Comparison(voxels((1, 1, 1)), voxels((1, 1, 2)), (1.5, 1.5, float(wide)))

    assert SurfaceDice(tolerance_mm=3)(compared) == 1


# ---- other implementations


@given(pairs())
def test_hausdorff_agrees_with_all_pairs_of_voxels(pair):
    truth, prediction = (np.argwhere(mask) * SPACING for mask in pair)
    assume(len(truth) and len(prediction))
    ways = np.linalg.norm(truth[:, None] - prediction[None], axis=-1)
    expected = max(ways.min(axis=0).max(), ways.min(axis=1).max())

    assert HD()(Comparison(*pair, SPACING)) == pytest.approx(expected, abs=1e-9)


@given(pairs(), st.sampled_from([(0, 10**9), (0, 0), (10**9, 0)]))
def test_distances_are_the_same_by_tree_and_by_map(pair, costs):
    assume(pair[0].any() and pair[1].any())
    with pytest.MonkeyPatch.context() as patch:
        expected = measure(Comparison(*pair, SPACING))
        patch.setattr(comparison, "NEAR_VOXELS", 1)
        patch.setattr(comparison, "NEAR_COST", costs[0])
        patch.setattr(comparison, "FAR_COST", costs[1])

        assert measure(Comparison(*pair, SPACING)) == pytest.approx(expected, rel=1e-9)


def monai_edges(pair, **settings):
    """Edges, distances and areas of prediction and truth as MONAI finds them."""
    import torch
    from monai.metrics import utils

    truth, prediction = (torch.from_numpy(mask.copy()) for mask in pair)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return utils.get_edge_surface_distance(
            prediction, truth, spacing=SPACING, symmetric=True, **settings
        )


@given(pairs())
def test_hd95_agrees_with_monai(pair):
    assume(pair[0].any() and pair[1].any())
    # MONAI's own quantile is float32 and 1e-5 off; its distances are compared
    _, ways, _ = monai_edges(pair)
    expected = max(np.quantile(way.numpy().astype(float), 0.95) for way in ways)

    assert HD95()(Comparison(*pair, SPACING)) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_hd95_agrees_with_monais_metric():
    import torch
    from monai import metrics

    rng = np.random.default_rng(0)
    pair = rng.random((2, 12, 12, 12)) > 0.97
    truth, prediction = (torch.from_numpy(mask)[None, None] for mask in pair)
    expected = metrics.compute_hausdorff_distance(
        prediction, truth, include_background=True, percentile=95, spacing=SPACING
    )

    assert HD95()(Comparison(*pair, SPACING)) == pytest.approx(expected.item(), rel=1e-5)


@given(pairs())
def test_surface_dice_agrees_with_monai(pair):
    assume(pair[0].any() and pair[1].any())
    edges, ways, areas = monai_edges(pair, use_subvoxels=True)
    areas = [area[edge].numpy() for area, edge in zip(areas, edges, strict=True)]
    whole = sum(area.sum() for area in areas)

    for tolerance in (1.5, 2, 3):
        near = [area[(way <= tolerance).numpy()] for area, way in zip(areas, ways, strict=True)]
        found = SurfaceDice(tolerance_mm=tolerance)(Comparison(*pair, SPACING))
        assert found == pytest.approx(sum(part.sum() for part in near) / whole, abs=1e-6)


def test_surface_dice_agrees_with_monais_metric():
    import torch
    from monai import metrics

    rng = np.random.default_rng(0)
    pair = rng.random((2, 12, 12, 12)) > 0.97
    truth, prediction = (torch.from_numpy(mask)[None, None] for mask in pair)
    expected = metrics.compute_surface_dice(
        prediction, truth, [3.0], include_background=True, spacing=SPACING, use_subvoxels=True
    )

    assert 0.2 < expected.item() < 0.9
    found = SurfaceDice(tolerance_mm=3)(Comparison(*pair, SPACING))
    assert found == pytest.approx(expected.item(), abs=1e-6)


@given(pairs())
def test_dice_agrees_with_its_definition_on_sets(pair):
    truth, prediction = ({*map(tuple, np.argwhere(mask))} for mask in pair)
    assume(truth or prediction)
    expected = 2 * len(truth & prediction) / (len(truth) + len(prediction))

    assert Dice()(Comparison(*pair, SPACING)) == pytest.approx(expected)
