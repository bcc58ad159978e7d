"""Laws of the metrics; distances are derived by hand or by other implementations."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydantic import TypeAdapter

from volseg import metrics
from volseg.metrics import DEFAULT, Metric, compute_metrics
from volseg.metrics.distance import ASSD, HD, HD95
from volseg.metrics.mask_pair import MaskPair
from volseg.metrics.overlap import Dice, IoU
from volseg.metrics.surface import APL, SurfaceDice
from volseg.metrics.volume import RelativeVolumeDifference, Volume, VolumeDifference
from volseg.schema import union_members

SPACING = (1.5, 2.0, 3.0)
LISTED = [kind() for kind in union_members(Metric).values()]
METRICS = list({metric.column_name: metric for metric in [*LISTED, *DEFAULT]}.values())


def every(metrics=METRICS):
    return pytest.mark.parametrize("metric", metrics, ids=lambda metric: metric.column_name)


@st.composite
def pairs(draw, max_side=5):
    shape = draw(arrays.array_shapes(min_dims=3, max_dims=3, max_side=max_side))
    sparse = st.sampled_from([True, False, False])
    return (
        draw(arrays.arrays(bool, shape, elements=sparse)),
        draw(arrays.arrays(bool, shape, elements=sparse)),
    )


def same(one, other):
    return one == pytest.approx(other, rel=1e-9, abs=1e-12, nan_ok=True)


def voxels(*places, shape=(9, 9, 9)):
    mask = np.zeros(shape, bool)
    for place in places:
        mask[place] = True
    return mask


# ---- what holds for every metric


@every([metric for metric in METRICS if metric.symmetric])
@given(pair=pairs())
def test_truth_and_prediction_may_be_swapped(metric, pair):
    forth, back = MaskPair(*pair, SPACING), MaskPair(*pair[::-1], SPACING)

    assert same(metric(forth), metric(back))


@every()
@given(pair=pairs(), order=st.permutations(range(3)))
def test_the_order_of_the_axes_does_not_matter(metric, pair, order):
    assume(order[2] == 2 or not metric.slicewise)
    turned = [mask.transpose(order) for mask in pair]
    spacing = tuple(SPACING[axis] for axis in order)

    assert same(metric(MaskPair(*turned, spacing)), metric(MaskPair(*pair, SPACING)))


@every()
@given(pair=pairs(), axis=st.integers(0, 2))
def test_flips_do_not_matter(metric, pair, axis):
    flipped = [np.flip(mask, axis) for mask in pair]

    assert same(metric(MaskPair(*flipped, SPACING)), metric(MaskPair(*pair, SPACING)))


@every()
@given(pair=pairs(), low=st.integers(0, 3), high=st.integers(0, 3))
def test_empty_space_around_does_not_matter(metric, pair, low, high):
    wider = [np.pad(mask, (low, high)) for mask in pair]

    assert same(metric(MaskPair(*wider, SPACING)), metric(MaskPair(*pair, SPACING)))


@every()
@given(pair=pairs())
def test_the_order_in_memory_does_not_matter(metric, pair):
    other = [np.asfortranarray(mask) for mask in pair]

    assert same(metric(MaskPair(*other, SPACING)), metric(MaskPair(*pair, SPACING)))


@every()
@given(pair=pairs(), factor=st.sampled_from([0.25, 3.0, 10.0]))
def test_scaling_the_spacing_scales_lengths_and_volumes_and_leaves_shares(metric, pair, factor):
    large = MaskPair(*pair, tuple(side * factor for side in SPACING))
    lengths = {key: value * factor for key, value in metric if key.endswith("_mm")}
    power = {"": 0, "%": 0, "mm": 1, "ml": 3}[metric.unit]
    expected = metric(MaskPair(*pair, SPACING)) * factor**power

    assert same(metric.model_copy(update=lengths)(large), expected)


@every([metric for metric in METRICS if metric.unit != "ml"])
@given(pair=pairs())
def test_equal_masks_are_perfect(metric, pair):
    assume(pair[0].any())
    perfect = 0 if metric.unit else 1

    assert metric(MaskPair(pair[0], pair[0], SPACING)) == perfect


@every()
@given(pair=pairs())
def test_where_neither_mask_is_empty_there_is_a_number(metric, pair):
    assume(pair[0].any() and pair[1].any())

    assert math.isfinite(metric(MaskPair(*pair, SPACING)))


@given(pair=pairs())
def test_every_value_is_the_same_whatever_was_asked_before(pair):
    backwards = compute_metrics(MaskPair(*pair, SPACING), METRICS[::-1])
    alone = {metric.column_name: metric(MaskPair(*pair, SPACING)) for metric in METRICS}

    assert backwards == pytest.approx(alone, rel=0, abs=0, nan_ok=True)


def test_scores_have_these_names():
    masks = voxels((1, 1, 1))

    assert list(compute_metrics(MaskPair(masks, masks, SPACING))) == [
        "Dice", "IoU", "HD", "HD95", "ASSD", "NSD2", "NSD3", "APL_mm", "volume_ml", "truth_ml",
        "volume_difference_ml", "volume_difference_percent",
    ]  # fmt: skip


def test_a_metric_may_be_chosen_by_name():
    read = TypeAdapter(Metric).validate_python

    assert read("dice") == Dice()
    assert read({"name": "surface_dice", "tolerance_mm": 1.5}).column_name == "NSD1.5"


# ---- empty masks

WORDS = {  # in the table, for a mask of one voxel of 1.5 x 2 x 3 mm and an empty one
    "NaN": math.nan,
    "infinity": math.inf,
    "0": 0,
    "-100": -100,
    "its volume": 0.009,
    "the prediction's volume": 0.009,
    "minus the labels' volume": -0.009,
    "the labels' whole contour": math.sqrt(1.5 * 2),
}


def table():
    """The table in the module's docstring: values by metric, both empty, truth, prediction."""
    lines = [line.strip("|").split("|") for line in metrics.__doc__.splitlines() if line[:1] == "|"]
    return {
        name: [WORDS[cell.strip()] for cell in cells]
        for names, *cells in lines[2:]
        for name in names.strip().split(", ")
    }


@every()
def test_empty_masks_give_what_the_table_says(metric):
    empty, full = voxels(), voxels((1, 1, 1))
    pairs = [(empty, empty), (empty, full), (full, empty)]
    found = [metric(MaskPair(*pair, SPACING)) for pair in pairs]
    label = "NSD" if isinstance(metric, SurfaceDice) else metric.column_name

    assert found == pytest.approx(table()[label], rel=1e-9, nan_ok=True)
    assert any(map(math.isinf, found)) == metric.unbounded


def test_distances_to_an_empty_mask_are_refused():
    with pytest.raises(ValueError, match="empty mask"):
        _ = MaskPair(voxels((1, 1, 1)), voxels(), SPACING).surface_distances_mm


def test_masks_of_two_shapes_are_refused():
    with pytest.raises(ValueError, match=r"labels are \(9, 9, 9\), prediction \(8, 9, 9\)"):
        MaskPair(voxels(), voxels(shape=(8, 9, 9)), SPACING)


# ---- by hand


def test_dice_counts_voxels():
    # 3 and 2 voxels, 1 shared: 2 * 1 / 5
    truth = voxels((0, 0, 0), (1, 0, 0), (2, 0, 0))
    prediction = voxels((2, 0, 0), (3, 0, 0))

    assert Dice()(MaskPair(truth, prediction, SPACING)) == pytest.approx(0.4)
    assert IoU()(MaskPair(truth, prediction, SPACING)) == pytest.approx(1 / 4)  # of 4 in either


@pytest.mark.parametrize(
    ("place", "expected"),
    [((4, 1, 1), 4.5), ((1, 4, 1), 6), ((1, 1, 4), 9), ((4, 4, 4), math.sqrt(4.5**2 + 36 + 81))],
)
def test_two_voxels_are_apart_by_steps_times_the_spacing_of_their_axis(place, expected):
    compared = MaskPair(voxels((1, 1, 1)), voxels(place), SPACING)

    assert HD()(compared) == pytest.approx(expected)
    assert HD95()(compared) == pytest.approx(expected)
    assert ASSD()(compared) == pytest.approx(expected)


def test_hausdorff_takes_the_worse_direction():
    # every predicted voxel is a true one, but the true voxel 5 steps of 1.5 mm away is missed
    truth, prediction = voxels((1, 1, 1), (6, 1, 1)), voxels((1, 1, 1))

    assert HD()(MaskPair(truth, prediction, SPACING)) == pytest.approx(7.5)
    assert HD()(MaskPair(prediction, truth, SPACING)) == pytest.approx(7.5)


def test_hausdorff_counts_the_inside_of_a_mask():
    # a full cube of 7 against its own shell: surfaces agree, the middle is 3 voxels from the shell
    full = np.ones((7, 7, 7), bool)
    shell = full.copy()
    shell[1:-1, 1:-1, 1:-1] = False

    assert HD()(MaskPair(full, shell, (1.0, 1.0, 1.0))) == 3
    assert HD95()(MaskPair(full, shell, (1.0, 1.0, 1.0))) == 0


def test_hd95_interpolates_the_95th_percentile():
    # truth: 21 voxels in a row; prediction: the same and one 10 voxels beyond the end. Ways from the
    # 22 predicted voxels: 21 times 0, once 10. Place .95 * 21 = 19.95: between two zeros
    truth = np.zeros((40, 1, 1), bool)
    truth[:21] = True
    prediction = truth.copy()
    prediction[30] = True
    assert HD95()(MaskPair(truth, prediction, (1.0, 1.0, 1.0))) == 0

    # with 11 voxels in the row: place .95 * 11 = 10.45 of ten zeros, zero, 10: 0.45 of the last step
    truth[11:] = prediction[11:21] = False
    prediction[30], prediction[20] = False, True
    assert HD95()(MaskPair(truth, prediction, (1.0, 1.0, 1.0))) == pytest.approx(0.45 * 10)


def test_assd_counts_every_surface_voxel_alike():
    # truth: 4 voxels in a row along x; prediction: the first of them. Ways from the truth: 0, 1.5, 3, 4.5;
    # from the prediction: 0. Mean of the 5: 9 / 5, not the mean of both means, (9 / 4 + 0) / 2
    truth, prediction = np.zeros((2, 9, 9, 9), bool)
    truth[1:5, 1, 1] = prediction[1, 1, 1] = True

    assert ASSD()(MaskPair(truth, prediction, SPACING)) == pytest.approx(9 / 5)


def test_assd_is_over_surface_voxels_only():
    # a cube of 5 voxels a side, 5³ - 3³ = 98 of them surface, against the same without its middle: 98 of
    # the surface and the 6 around the hole. These are one step along their axis from the cube's
    # surface: twice 1.5, 2 and 3 mm. All other ways are 0, and the middle itself has none
    full = np.ones((5, 5, 5), bool)
    hollow = full.copy()
    hollow[2, 2, 2] = False

    expected = 2 * (1.5 + 2 + 3) / (98 + 98 + 6)
    assert ASSD()(MaskPair(full, hollow, SPACING)) == pytest.approx(expected)


def test_surface_dice_of_two_slabs_goes_with_the_tolerance():
    # two single voxels 3 mm apart: surfaces (cells around them) are 3 mm - 1.5 mm apart at best:
    # the voxels at x = 1 and x = 3 (spacing 1.5) have cells at x = 1, 2 and x = 3, 4. The nearer half
    # of either surface is one cell = 1.5 mm from the other, the farther half two = 3 mm
    compared = MaskPair(voxels((1, 1, 1)), voxels((3, 1, 1)), SPACING)

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
    compared = MaskPair(plate, with_voxel, (1.0, 1.0, 1.0))
    voxel = math.sqrt(3)
    one, other = compared.surface_elements(within_mm=2)
    area = one.areas_mm2.sum()

    assert other.areas_mm2.sum() == pytest.approx(area + voxel)
    assert SurfaceDice()(compared) == pytest.approx(2 * area / (2 * area + voxel))


def test_volumes_are_in_millilitres():
    # 1000 voxels of 9 mm³ = 9 ml
    mask = np.ones((10, 10, 10), bool)

    assert Volume()(MaskPair(mask, mask, SPACING)) == pytest.approx(9)


def test_volume_differences_are_prediction_minus_truth():
    # 1000 and 1200 voxels of 9 mm³: 1.8 ml too much, a fifth of the truth; the other way round a sixth
    truth, prediction = np.zeros((2, 10, 10, 12), bool)
    truth[:, :, :10] = prediction[:] = True
    over, under = MaskPair(truth, prediction, SPACING), MaskPair(prediction, truth, SPACING)

    assert VolumeDifference()(over) == pytest.approx(1.8)
    assert VolumeDifference()(under) == pytest.approx(-1.8)
    assert RelativeVolumeDifference()(over) == pytest.approx(20)
    assert RelativeVolumeDifference()(under) == pytest.approx(-100 / 6)


def test_apl_counts_the_contours_pixels_that_must_be_drawn():
    # squares of 4 x 4 pixels, the prediction one pixel to the right. Of the truth's contour, 12 pixels, the
    # prediction's contour covers 3 of the upper and 3 of the lower side. 6 pixels of 1.5 mm are left, on
    # each of two slices
    truth, prediction = np.zeros((2, 9, 9, 9), bool)
    truth[2:6, 2:6, 3:5] = prediction[3:7, 2:6, 3:5] = True

    assert APL()(MaskPair(truth, prediction, (1.5, 1.5, 3.0))) == pytest.approx(2 * 6 * 1.5)


def test_apl_draws_the_contour_of_a_missing_slice_and_deletes_for_nothing():
    # the truth is on slices 3 and 4, the prediction on 4 and 5: the 12 pixels of slice 3 are missing
    truth, prediction = np.zeros((2, 9, 9, 9), bool)
    truth[2:6, 2:6, 3:5] = prediction[2:6, 2:6, 4:6] = True

    assert APL()(MaskPair(truth, prediction, (1.5, 1.5, 3.0))) == pytest.approx(12 * 1.5)


def test_apl_takes_the_side_of_a_square_of_the_same_area_for_a_pixel_that_is_none():
    truth, prediction = voxels((1, 1, 1)), voxels((2, 1, 1))

    assert APL()(MaskPair(truth, prediction, (1.0, 4.0, 3.0))) == 2


def test_float32_voxel_sizes_do_not_move_a_surface_over_the_tolerance():
    wide = np.nextafter(np.float32(3), np.float32(4))
    compared = MaskPair(voxels((1, 1, 1)), voxels((1, 1, 2)), (1.5, 1.5, float(wide)))

    assert SurfaceDice(tolerance_mm=3)(compared) == 1


# ---- other implementations


@given(pairs())
def test_hausdorff_agrees_with_all_pairs_of_voxels(pair):
    truth, prediction = (np.argwhere(mask) * SPACING for mask in pair)
    assume(len(truth) and len(prediction))
    ways = np.linalg.norm(truth[:, None] - prediction[None], axis=-1)
    expected = max(ways.min(axis=0).max(), ways.min(axis=1).max())

    assert HD()(MaskPair(*pair, SPACING)) == pytest.approx(expected, abs=1e-9)


def monai_edges(pair, **settings):
    """Edges, distances and areas of prediction and truth as MONAI finds them."""
    import torch
    from monai.metrics import utils

    truth, prediction = (torch.from_numpy(mask.copy()) for mask in pair)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return utils.get_edge_surface_distance(prediction, truth, spacing=SPACING, symmetric=True, **settings)


@given(pairs())
def test_hd95_agrees_with_monai(pair):
    assume(pair[0].any() and pair[1].any())
    # MONAI's own quantile is float32 and 1e-5 off; its distances are compared
    _, ways, _ = monai_edges(pair)
    expected = max(np.quantile(way.numpy().astype(float), 0.95) for way in ways)

    assert HD95()(MaskPair(*pair, SPACING)) == pytest.approx(expected, rel=1e-6, abs=1e-6)


@given(pairs())
def test_assd_agrees_with_monai(pair):
    assume(pair[0].any() and pair[1].any())
    _, ways, _ = monai_edges(pair)
    expected = np.concatenate([way.numpy().astype(float) for way in ways]).mean()

    assert ASSD()(MaskPair(*pair, SPACING)) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_distances_agree_with_monais_metrics():
    import torch
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance

    rng = np.random.default_rng(0)
    pair = rng.random((2, 12, 12, 12)) > 0.97
    truth, prediction = (torch.from_numpy(mask)[None, None] for mask in pair)
    settings = {"include_background": True, "spacing": SPACING}
    hd95 = compute_hausdorff_distance(prediction, truth, percentile=95, **settings)
    assd = compute_average_surface_distance(prediction, truth, symmetric=True, **settings)

    assert HD95()(MaskPair(*pair, SPACING)) == pytest.approx(hd95.item(), rel=1e-5)
    assert ASSD()(MaskPair(*pair, SPACING)) == pytest.approx(assd.item(), rel=1e-6)


@given(pairs())
def test_surface_dice_agrees_with_monai(pair):
    assume(pair[0].any() and pair[1].any())
    edges, ways, areas = monai_edges(pair, use_subvoxels=True)
    areas = [area[edge].numpy() for area, edge in zip(areas, edges, strict=True)]
    whole = sum(area.sum() for area in areas)

    for tolerance in (1.5, 2, 3, 7):  # 7 mm is beyond what is near
        near = [area[(way <= tolerance).numpy()] for area, way in zip(areas, ways, strict=True)]
        found = SurfaceDice(tolerance_mm=tolerance)(MaskPair(*pair, SPACING))
        assert found == pytest.approx(sum(part.sum() for part in near) / whole, abs=1e-6)


def test_surface_dice_agrees_with_monais_metric():
    import torch
    from monai.metrics import compute_surface_dice

    rng = np.random.default_rng(0)
    pair = rng.random((2, 12, 12, 12)) > 0.97
    truth, prediction = (torch.from_numpy(mask)[None, None] for mask in pair)
    expected = compute_surface_dice(
        prediction, truth, [3.0], include_background=True, spacing=SPACING, use_subvoxels=True
    )

    assert 0.2 < expected.item() < 0.9
    found = SurfaceDice(tolerance_mm=3)(MaskPair(*pair, SPACING))
    assert found == pytest.approx(expected.item(), abs=1e-6)


@given(pairs())
def test_surface_dice_agrees_with_deepminds_own_code(pair):
    import surface_distance as deepmind

    assume(pair[0].any() and pair[1].any())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        distances = deepmind.compute_surface_distances(*pair, SPACING)

    for tolerance in (1.4, 2.2, 3.1, 7.1):  # no distance, so that rounding has no say
        found = SurfaceDice(tolerance_mm=tolerance)(MaskPair(*pair, SPACING))
        expected = deepmind.compute_surface_dice_at_tolerance(distances, tolerance)
        assert found == pytest.approx(expected, abs=1e-6)


@given(pairs())
def test_overlap_agrees_with_its_definition_on_sets(pair):
    truth, prediction = ({*map(tuple, np.argwhere(mask))} for mask in pair)
    assume(truth or prediction)
    compared = MaskPair(*pair, SPACING)
    dice = 2 * len(truth & prediction) / (len(truth) + len(prediction))
    iou = len(truth & prediction) / len(truth | prediction)

    assert Dice()(compared) == pytest.approx(dice)
    assert IoU()(compared) == pytest.approx(iou)


@given(pairs())
def test_apl_agrees_with_its_definition_on_sets(pair):
    assume(pair[0].any())
    inside = [{*map(tuple, np.argwhere(mask))} for mask in pair]
    truth, prediction = (
        {
            (x, y, z)
            for x, y, z in mask
            if not {(x - 1, y, z), (x + 1, y, z), (x, y - 1, z), (x, y + 1, z)} <= mask
        }
        for mask in inside
    )
    expected = len(truth - prediction) * math.sqrt(SPACING[0] * SPACING[1])

    assert APL()(MaskPair(*pair, SPACING)) == pytest.approx(expected)
