import numpy as np
import pytest

from volseg.calibration.dice_fit import MOST_GROUPS, SeenMask, fit_estimates, left_out_groups
from volseg.inference.confidence.dice_estimate import DiceEstimate, logit, sigmoid


def masks_of(
    name: str, cases: int, *, height: float = -0.5, slope: float = 1.5, noise: float = 0.0
) -> list[SeenMask]:
    """A mask a case, whose Dice lies on a line from logit to logit, but for some noise."""
    rng = np.random.default_rng(len(name) + cases)
    certainty = rng.uniform(0.6, 0.97, cases)
    dice = sigmoid(height + slope * logit(certainty) + noise * rng.standard_normal(cases))
    return [
        SeenMask(f"case{n}", name, float(p), float(d))
        for n, (p, d) in enumerate(zip(certainty, dice, strict=True))
    ]


def test_of_many_masks_the_line_is_theirs() -> None:
    stomach, spleen = masks_of("stomach", 150), masks_of("spleen", 150, height=0.5, slope=0.8)

    found = fit_estimates([*stomach, *spleen], ["stomach", "spleen"])

    for mask in (*stomach, *spleen):
        assert found[mask.class_name].dice(mask.certainty) == pytest.approx(mask.dice, abs=0.01)


def test_the_mean_is_kept_where_one_mask_failed() -> None:
    """What errors alone would be told as a bias."""
    masks = [*masks_of("spleen", 13, noise=0.2), SeenMask("odd", "spleen", 0.75, 0.0)]

    line = fit_estimates(masks, ["spleen"])["spleen"]

    told = np.mean([line.dice(mask.certainty) for mask in masks])
    assert told == pytest.approx(np.mean([mask.dice for mask in masks]), abs=0.01)


def test_few_masks_are_drawn_to_those_of_all_classes() -> None:
    many, other = masks_of("stomach", 60), masks_of("liver", 60, height=-1.0)
    one = SeenMask("case0", "spleen", 0.8, 0.1)

    found = fit_estimates([*many, *other, one], ["stomach", "liver", "spleen", "kidney"])

    told = {name: line.dice(0.8) for name, line in found.items()}
    alone = fit_estimates(50 * [one], ["spleen"])["spleen"].dice(0.8)
    assert alone == pytest.approx(0.1, abs=0.02)
    assert alone + 0.1 < told["spleen"] < told["kidney"] < told["stomach"]  # of the kidney there is no mask


def test_without_masks_certainty_stands_for_dice() -> None:
    assert fit_estimates([], ["spleen"]) == {"spleen": DiceEstimate()}


def test_where_dice_falls_as_certainty_rises_the_line_is_flat() -> None:
    line = fit_estimates(masks_of("spleen", 80, height=4, slope=-2), ["spleen"])["spleen"]

    assert line.slope == 0


def test_eight_masks_in_ten_lie_within_the_range() -> None:
    known, new = masks_of("spleen", 150, noise=0.5), masks_of("spleen", 2000, noise=0.5)

    line = fit_estimates(known, ["spleen"])["spleen"]

    ends = [line.bounds(mask.certainty) for mask in new]
    inside = np.mean([low <= mask.dice <= high for (low, high), mask in zip(ends, new, strict=True)])
    assert inside == pytest.approx(0.8, abs=0.06)


def test_the_range_is_that_of_masks_that_had_no_part_in_their_line() -> None:
    """Of nine masks the lower end is the worst one's distance from the line of the other eight."""
    others, odd = masks_of("spleen", 8, noise=0.1), SeenMask("odd", "spleen", 0.8, 0.2)

    found = fit_estimates([*others, odd], ["spleen"])["spleen"]

    line = fit_estimates(others, ["spleen"])["spleen"]
    assert found.margin is not None
    assert found.margin[0] == pytest.approx(logit(0.2) - logit(line.dice(0.8)), abs=1e-3)


@pytest.mark.parametrize(("cases", "known"), [(8, False), (9, True)])
def test_of_fewer_than_nine_cases_there_is_no_range(cases: int, known: bool) -> None:
    """Of nine the smallest and largest are the ends: the tenth lies outside them twice in ten times."""
    line = fit_estimates(masks_of("spleen", cases, noise=0.3), ["spleen"])["spleen"]

    assert (line.margin is not None) == known


def test_masks_of_one_case_are_no_cases() -> None:
    days = [SeenMask("one", "spleen", mask.certainty, mask.dice) for mask in masks_of("spleen", 30)]

    assert fit_estimates(days, ["spleen"])["spleen"].margin is None


@pytest.mark.parametrize("cases", [1, 5, MOST_GROUPS, 83])
def test_each_case_is_left_out_once(cases: int) -> None:
    names = [f"case{n % cases}" for n in range(3 * cases)]

    groups = [*left_out_groups(names)]

    assert len(groups) == min(cases, MOST_GROUPS)
    assert sorted(name for group in groups for name in group) == sorted({*names})
