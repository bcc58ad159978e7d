"""Real organs and known damage: every metric moves as worked out by hand.

`check` wants a value, or bounds, for each metric, so that none is forgotten. V are voxels, N surface
voxels, A the surface's area, C the contours' pixels; voxels are 1.5 x 1.5 x 3 mm.
"""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import binary_erosion, distance_transform_edt

from volseg.data.layouts.gi_tract.rle import decode
from volseg.metrics import compute_metrics, kaggle_score
from volseg.metrics.mask_pair import MaskPair
from volseg.metrics.surface_elements import cell_codes, element_areas

SPACING = (1.5, 1.5, 3.0)
VOXEL_ML = 0.00675
SHAPE = (234, 234, 108)
ORGANS = ("large_bowel", "small_bowel", "stomach")
REMOVED = 65  # a slice that shows all three
INF = math.inf
of_every_organ = pytest.mark.parametrize("organ", ORGANS)


@pytest.fixture(scope="module")
def truth(shared_data: Path) -> dict[str, np.ndarray]:
    """The masks of case139_day0 (X, Y, Z) by organ."""
    slices: dict[str, list[np.ndarray]] = {organ: [] for organ in ORGANS}
    with (shared_data / "uwmgi_real/train.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["id"].startswith("case139_day0_"):
                slices[row["class"]].append(decode(row["segmentation"], SHAPE[:2]))
    return {organ: np.stack(found, axis=-1) for organ, found in slices.items()}


def check(one: np.ndarray, prediction: np.ndarray, expected: dict) -> None:
    """Every metric has its value, or lies within its bounds (both included)."""
    found = compute_metrics(MaskPair(one, prediction, SPACING))
    bounds = {name: value for name, value in expected.items() if isinstance(value, tuple)}
    exact = {name: value for name, value in expected.items() if name not in bounds}

    assert set(expected) == set(found)
    assert {name: found[name] for name in exact} == pytest.approx(exact, rel=1e-9, abs=1e-9)
    beyond = {name: found[name] for name, (a, b) in bounds.items() if not a <= found[name] <= b}
    assert not beyond, bounds


def volumes(one: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    """The four metrics that only count voxels."""
    true, predicted = one.sum(), prediction.sum()
    return {
        "volume_ml": predicted * VOXEL_ML,
        "truth_ml": true * VOXEL_ML,
        "volume_difference_ml": (int(predicted) - int(true)) * VOXEL_ML,
        "volume_difference_percent": 100 * (predicted / true - 1),
    }


def score(truth: dict[str, np.ndarray], prediction: dict[str, np.ndarray]) -> kaggle_score.KaggleTerms:
    pairs = {organ: MaskPair(truth[organ], prediction[organ], SPACING) for organ in ORGANS}
    return kaggle_score.scan_terms(pairs)


def surface(mask: np.ndarray) -> np.ndarray:
    return mask & ~binary_erosion(mask)


def contours(mask: np.ndarray) -> np.ndarray:
    cross = np.zeros((3, 3, 3), bool)
    cross[1, :, 1] = cross[:, 1, 1] = True
    return mask & ~binary_erosion(mask, cross)


def areas(mask: np.ndarray) -> np.ndarray:
    """The surface's area in each cell; cell z lies between slices z - 1 and z."""
    return element_areas(SPACING)[cell_codes(mask)]


# ---- an organ is dropped


@of_every_organ
def test_a_dropped_organ_is_missed_by_every_metric(truth, organ):
    empty = np.zeros(SHAPE, bool)

    check(
        truth[organ],
        empty,
        {"Dice": 0, "IoU": 0, "HD": INF, "HD95": INF, "ASSD": INF, "NSD2": 0, "NSD3": 0}
        | {"APL_mm": 1.5 * contours(truth[organ]).sum()}  # all of it must be drawn
        | volumes(truth[organ], empty)
        | {"volume_difference_percent": -100},
    )


def test_a_dropped_organ_costs_the_score_its_slices_and_a_third_of_the_distance(truth):
    # of 117 pairs of slice and organ that have a mask, 48 show the stomach. One distance of three is 1
    part = score(truth, truth | {"stomach": np.zeros(SHAPE, bool)})
    found = kaggle_score.score_scans([part])

    assert found.dice == pytest.approx((117 - 48) / 117)
    assert found.hd == pytest.approx(1 / 3)
    assert found.score == pytest.approx(0.4 * 69 / 117 + 0.6 * 2 / 3)


# ---- an organ is 3 mm, 2 voxels, too far to the left of the patient (x + 2)


def runs(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """The lengths of the runs of a mask along x, and how many begin one voxel after another's end."""
    steps = np.diff(np.pad(mask, ((1, 1), (0, 0), (0, 0))).transpose(1, 2, 0).astype(int))
    rows, starts = np.nonzero(steps.reshape(-1, SHAPE[0] + 1) == 1)
    ends = np.nonzero(steps.reshape(-1, SHAPE[0] + 1) == -1)[1]
    gaps = (starts[1:] - ends[:-1])[rows[1:] == rows[:-1]]
    return ends - starts, int((gaps == 1).sum())


@of_every_organ
def test_a_shift_of_3_mm(truth, organ):
    # Overlap: the first two voxels of each run along x are lost, or the only one; but where a run begins
    # one voxel after another's end, the end of that one, shifted, saves the first voxel.
    # Distances: every voxel, surface voxel and surface element has its double 3 mm away, so no way is
    # longer; and the voxel of the prediction with the largest x has no voxel of the truth nearer.
    # APL: the first voxel of each run is part of the truth's contour and not of the prediction.
    mask = truth[organ]
    moved = np.roll(mask, 2, axis=0)
    lengths, near = runs(mask)
    shared = mask.sum() - (np.minimum(lengths, 2).sum() - near)
    union = 2 * mask.sum() - shared

    check(
        mask,
        moved,
        {"Dice": shared / mask.sum(), "IoU": shared / union}
        | {"HD": 3, "HD95": (0, 3), "ASSD": (1e-6, 3 - 1e-6), "NSD2": (1e-6, 1 - 1e-6), "NSD3": 1}
        | {"APL_mm": (1.5 * (len(lengths) - near), 1.5 * contours(mask).sum())}
        | volumes(mask, mask),  # no volume is lost: the differences are 0
    )


def test_a_shift_is_as_many_voxels_of_the_scores_distance(truth):
    part = score(truth, {organ: np.roll(mask, 2, axis=0) for organ, mask in truth.items()})

    assert part.hd == pytest.approx([2 / 234 / math.sqrt(3)] * 3)
    assert part.hd_joint == pytest.approx(2 / 234 / math.sqrt(3))


# ---- a false island of 4 voxels in a row along x, 51 mm (34 voxels) off the organ's last voxel


def with_island(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """The mask with the island, and its slice."""
    x, y, z = max(map(tuple, np.argwhere(mask).tolist()))
    prediction = mask.copy()
    prediction[x + 34 : x + 38, y, z] = True
    return prediction, z


@of_every_organ
def test_a_false_island(truth, organ):
    # No voxel of the organ has a larger x, and one has the same y and z: the ways are 34 to 37 steps.
    # HD95: N zeros and 4 ways: the 95th percentile is a zero. ASSD: the 4 ways over all surface voxels.
    # The island's surface: at each end 4 corners are cut off by a triangle through the middles of edges
    # of 1.5, 1.5 and 3 mm; between them, on 3 pieces of 1.5 mm, 4 edges by a rectangle across y and z.
    # Nothing is to be drawn.
    mask = truth[organ]
    prediction, _ = with_island(mask)
    ways = 1.5 * (34 + 35 + 36 + 37)
    corner = math.sqrt((0.75 * 0.75) ** 2 + 2 * (0.75 * 1.5) ** 2) / 2
    island = 2 * 4 * corner + 3 * 4 * 1.5 * math.hypot(0.75, 1.5)
    within = 2 * areas(mask).sum()
    voxels = mask.sum()

    check(
        mask,
        prediction,
        {"Dice": 2 * voxels / (2 * voxels + 4), "IoU": voxels / (voxels + 4)}
        | {"HD": 37 * 1.5, "HD95": 0, "ASSD": ways / (2 * surface(mask).sum() + 4)}
        | {"NSD2": within / (within + island), "NSD3": within / (within + island), "APL_mm": 0}
        | volumes(mask, prediction)
        | {"volume_difference_ml": 4 * VOXEL_ML, "volume_difference_percent": 400 / voxels},
    )


def test_an_island_costs_one_slice_and_its_way_along_x(truth):
    prediction, z = with_island(truth["stomach"])
    part = score(truth, truth | {"stomach": prediction})
    there = truth["stomach"][:, :, z].sum()

    assert part.dice[2, z] == pytest.approx(2 * there / (2 * there + 4))
    assert np.nansum(part.dice) == pytest.approx(116 + part.dice[2, z])
    assert part.hd == pytest.approx([0, 0, 37 / 234 / math.sqrt(3)])


# ---- stomach and small bowel are taken for one another


@pytest.mark.parametrize("organ", ["stomach", "small_bowel"])
def test_two_organs_swapped(truth, organ):
    # The stomach begins at slice 28, the small bowel at 48: a voxel of the stomach on slice z < 48 is at
    # least 3 (48 - z) mm from it, whichever of the two is the truth; cells up to 46 are 6 mm and more
    # from those of the small bowel, the first of which are cells 48. No way leaves the box of both.
    mask, other = truth[organ], truth[{"stomach": "small_bowel"}.get(organ, "stomach")]
    shared, total = (mask & other).sum(), mask.sum() + other.sum()
    places = np.argwhere(mask | other)
    longest = np.linalg.norm((places.max(0) - places.min(0)) * SPACING)
    shells = surface(truth["stomach"]), surface(truth["small_bowel"])
    ways = np.maximum(0, 3 * (48 - np.argwhere(shells[0])[:, 2]))
    far = areas(truth["stomach"])[:, :, :47].sum()
    near = 1 - far / (areas(mask).sum() + areas(other).sum())
    contour = contours(mask).sum()

    assert (ways.max(), np.argwhere(truth["small_bowel"])[:, 2].min()) == (60, 48)
    check(
        mask,
        other,
        {"Dice": 2 * shared / total, "IoU": shared / (total - shared), "HD": (60, longest)}
        | {"HD95": (np.quantile(ways, 0.95), longest)}
        | {"ASSD": (ways.sum() / sum(shell.sum() for shell in shells), longest)}
        | {"NSD2": (0, near), "NSD3": (0, near)}
        | {"APL_mm": (1.5 * (contour - shared), 1.5 * contour)}
        | volumes(mask, other),
    )


def test_organs_that_are_swapped_answer_for_each_other(truth):
    stomach = compute_metrics(MaskPair(truth["stomach"], truth["small_bowel"], SPACING))
    bowel = compute_metrics(MaskPair(truth["small_bowel"], truth["stomach"], SPACING))

    for name in ("Dice", "IoU", "HD", "HD95", "ASSD", "NSD2", "NSD3"):
        assert stomach[name] == pytest.approx(bowel[name], rel=1e-12)
    assert stomach["volume_difference_ml"] == pytest.approx(-bowel["volume_difference_ml"])
    factors = [1 + one["volume_difference_percent"] / 100 for one in (stomach, bowel)]
    assert math.prod(factors) == pytest.approx(1)


def test_the_joint_distance_does_not_see_that_organs_are_swapped(truth):
    part = score(truth, truth | {"stomach": truth["small_bowel"], "small_bowel": truth["stomach"]})

    assert part.hd[0] == 0
    assert part.hd[1] == pytest.approx(part.hd[2])
    assert part.hd[1] >= 20 / 108 / math.sqrt(3)  # the stomach begins 20 slices before
    assert part.hd_joint == 0


# ---- the masks of one slice are removed


@of_every_organ
def test_a_removed_slice(truth, organ):
    # What is left is part of the truth, so only removed voxels have a way, of one slice or more.
    # Surface voxels of the truth stay so or are removed. Removed ones have no longer way than HD; new ones
    # lie on the slices beside, none deeper in the truth than its deepest voxel. Cells that
    # do not touch the slice stay. On this slice all contours are missing, on the others none.
    mask, left = truth[organ], truth[organ].copy()
    left[:, :, REMOVED] = False
    gone, voxels = mask[:, :, REMOVED].sum(), mask.sum()
    hd = distance_transform_edt(~left, sampling=SPACING)[mask].max()
    deepest = distance_transform_edt(~surface(mask), sampling=SPACING)[mask].max()
    old = surface(mask)[:, :, REMOVED].sum()
    new = (surface(left) & ~surface(mask)).sum()
    whole = areas(mask).sum() + areas(left).sum()
    same = np.delete(areas(mask), (REMOVED, REMOVED + 1), axis=2).sum()

    assert hd >= 3
    check(
        mask,
        left,
        {"Dice": 2 * (voxels - gone) / (2 * voxels - gone), "IoU": (voxels - gone) / voxels}
        | {"HD": hd, "HD95": (0, max(hd, deepest))}
        | {"ASSD": (1e-6, (old * hd + new * deepest) / (surface(mask).sum() + surface(left).sum()))}
        | {"NSD2": (2 * same / whole, 1), "NSD3": (2 * same / whole, 1)}
        | {"APL_mm": 1.5 * contours(mask)[:, :, REMOVED].sum()}
        | volumes(mask, left)
        | {"volume_difference_percent": -100 * gone / voxels},
    )


def test_a_removed_slice_costs_the_score_its_pairs_and_a_slices_distance(truth):
    left = {organ: mask.copy() for organ, mask in truth.items()}
    for mask in left.values():
        mask[:, :, REMOVED] = False
    part = score(truth, left)

    assert part.dice[:, REMOVED].tolist() == [0, 0, 0]
    assert kaggle_score.score_scans([part]).dice == pytest.approx((117 - 3) / 117)
    assert (part.hd >= 1 / 108 / math.sqrt(3) - 1e-12).all()
