from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volseg.data.dataset import Dataset, DatasetInfo
from volseg.evaluation.bootstrap import FiniteSums, mean_of_sums
from volseg.metrics import kaggle_score
from volseg.metrics.mask_pair import MaskPair
from volseg.metrics.overlap import Dice
from volseg.metrics.surface import SurfaceDice
from volseg.tuning.objectives import OBJECTIVES, default_objective

SPACING = (1.5, 1.5, 3.0)


def drawn(seed: int, organs: int = 2) -> dict[str, MaskPair]:
    """Organs of which any mask may be empty, as may be its slices."""
    rng = np.random.default_rng(seed)
    masks = [rng.random((5, 4, 6)) < rng.choice([0, 0.1, 0.5]) for _ in range(2 * organs)]
    masks = [mask & (rng.random(6) < 0.7) for mask in masks]
    return {str(n): MaskPair(masks[2 * n], masks[2 * n + 1], SPACING) for n in range(organs)}


def total(each: list[FiniteSums]) -> FiniteSums:
    return FiniteSums(
        np.sum([one.sums for one in each], axis=0)[None], np.sum([one.counts for one in each], axis=0)[None]
    )


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=4))
def test_pooled_over_scans_and_classes_it_is_the_competitions_score(seeds) -> None:
    scans = [drawn(seed) for seed in seeds]
    goal = OBJECTIVES["kaggle"]
    expected = kaggle_score.score_scans([kaggle_score.scan_terms(one) for one in scans]).score

    added = total([goal.sums(one) for scan in scans for one in scan.values()])

    assert mean_of_sums(added, goal.weights)[0] == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("name", "metric"), [("dice", Dice()), ("surface_dice", SurfaceDice(tolerance_mm=2))]
)
@given(st.integers(0, 2**32 - 1))
def test_a_share_is_the_metric_and_1_where_both_masks_are_empty(name, metric, seed) -> None:
    for comparison in drawn(seed).values():
        found = OBJECTIVES[name].sums(comparison)

        empty = not comparison.label_voxels and not comparison.prediction_voxels
        assert found.sums[0] == (1.0 if empty else metric(comparison))
        assert found.counts[0] == 1


@pytest.mark.parametrize(
    ("layout", "classes", "goal"),
    [
        ("gi-tract", ("large_bowel", "stomach"), "kaggle"),
        ("gi-tract", ("liver", "stomach"), "dice"),
        ("nifti", ("large_bowel", "stomach"), "dice"),
    ],
)
def test_what_is_to_gain_is_by_default_the_competitions_score_on_its_data_alone(
    layout, classes, goal
) -> None:
    facts = DatasetInfo(
        name="a", layout=layout, classes=classes, exclusive=False, channels=("mr",), samples=()
    )

    assert default_objective(Dataset(Path("a"), facts)) == goal


def test_every_goal_is_highest_for_the_truth_itself() -> None:
    truth = np.zeros((6, 6, 4), bool)
    truth[1:4, 2:5, 1:3] = True
    for goal in OBJECTIVES.values():
        best = total([goal.sums(MaskPair(truth, truth, SPACING))])
        assert mean_of_sums(best, goal.weights)[0] == pytest.approx(1)
