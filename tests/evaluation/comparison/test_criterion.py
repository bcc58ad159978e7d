"""What is compared, and how a pair of values is made fair."""

import math

import numpy as np
import pytest

from volseg.errors import UserError
from volseg.evaluation import bootstrap
from volseg.evaluation.comparison.criterion import OWN_CRITERIA, find_criterion
from volseg.evaluation.scan_scores import NAMES, ScanInfo, ScanScores
from volseg.metrics import kaggle_score
from volseg.metrics.kaggle_score import KaggleTerms

ORGANS = ("large_bowel", "stomach")


def scan(metric: str, *values: float, name: str = "case1_day0") -> ScanScores:
    origin = ScanInfo(scan=name, case=name.removesuffix("_day0"), seen="none")
    rng = np.random.default_rng(len(name))
    part = KaggleTerms(rng.uniform(size=(2, 5)), rng.uniform(size=2), 0.1)
    return origin.with_scores(
        {organ: {metric: value} for organ, value in zip(ORGANS, values, strict=True)}, part
    )


def paired(metric: str, one: tuple[float, float], other: tuple[float, float]) -> list[list[float]]:
    pair = (scan(metric, *one), scan(metric, *other))
    return [side["case1"][0].tolist() for side in find_criterion(metric).paired_values([pair], ORGANS)]


def test_every_metric_has_a_better_side_but_for_plain_volumes() -> None:
    assert set(NAMES) - set(OWN_CRITERIA) == {"volume_ml", "truth_ml"}
    assert find_criterion("Dice").better == find_criterion("NSD2").better == "higher"
    assert find_criterion("kaggle").better == find_criterion("Dice_labelled").better == "higher"
    assert find_criterion("HD").better == find_criterion("HD95_labelled").better == "lower"


def test_names_are_taken_in_any_case() -> None:
    assert find_criterion("hd95") == find_criterion("HD95")
    assert find_criterion("Kaggle").name == "kaggle"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dise", r"--metric dise: no such metric; there are Dice, .*kaggle, did you mean Dice\?"),
        ("", "no such metric"),
        ("truth_ml", "--metric truth_ml: neither more nor less of it is better; choose one of Dice,"),
    ],
)
def test_what_can_not_be_compared_is_a_users_mistake(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        find_criterion(name)


def test_an_organ_that_one_invents_counts_against_it() -> None:
    assert paired("Dice", (math.nan, 0.8), (0.0, 0.9)) == [[1, 0.8], [0, 0.9]]
    assert paired("NSD2", (0.0, 0.8), (math.nan, 0.9)) == [[0, 0.8], [1, 0.9]]


def test_what_neither_can_measure_or_one_missed_is_no_pair() -> None:
    for one, other in ((math.nan, math.nan), (math.inf, 3.0), (2.0, math.inf), (math.nan, math.inf)):
        left, right = paired("HD", (one, 1.0), (other, 2.0))
        assert math.isnan(left[0])
        assert math.isnan(right[0])
        assert (left[1], right[1]) == (1, 2)


def test_of_signed_differences_the_size_counts() -> None:
    assert paired("volume_difference_ml", (-5.0, 3.0), (4.0, -8.0)) == [[5, 3], [4, 8]]
    assert paired("volume_difference_percent", (-5.0, 3.0), (4.0, math.inf))[0][0] == 5
    assert find_criterion("volume_difference_ml").title == "|volume_difference_ml|"


def test_missed_organs_are_counted_for_each_side() -> None:
    pairs = [
        (scan("HD95", math.inf, math.inf), scan("HD95", math.inf, 2.0)),
        (scan("HD95", 1.0, math.nan, name="case2_day0"), scan("HD95", 1.0, 2.0, name="case2_day0")),
    ]

    assert find_criterion("HD95").missed(pairs, ORGANS) == (2, 1)
    assert find_criterion("HD95").missed(pairs, ["stomach"]) == (1, 0)


def test_the_competitions_score_is_the_one_over_the_same_scans() -> None:
    scans = [scan("Dice", 0.5, 0.5, name=f"case{'1' * (n + 1)}_day0") for n in range(4)]
    by = find_criterion("kaggle")
    one, _ = by.paired_values([(each, each) for each in scans], ORGANS)

    expected = kaggle_score.score_scans(each.part for each in scans).score
    assert bootstrap.mean(one, weights=by.weights).mean == pytest.approx(expected)
    one, _ = by.paired_values([(each, each) for each in scans], ["stomach"])
    alone = [KaggleTerms(each.part.dice[1:], each.part.hd[1:], 0) for each in scans]
    assert bootstrap.mean(one, weights=by.weights).mean == pytest.approx(
        kaggle_score.score_scans(alone).score
    )
