import pytest
from hypothesis import given

from tests.strategies import datasets, sample
from volseg.data.dataset import Sample
from volseg.data.splits import FOLDS, MIN_DAYS, split_samples
from volseg.errors import UserError


@given(datasets())
def test_no_scan_is_in_two_sets_and_no_case_in_both_train_and_unseen(scans: list[Sample]) -> None:
    case = {s.name: s.case for s in scans}
    for fold in range(FOLDS):
        parts = split_samples(scans, fold=fold)

        names = [*parts.train, *parts.unseen_cases, *parts.later_days]
        assert len(names) == len(set(names))
        assert not {case[n] for n in parts.unseen_cases} & {case[n] for n in parts.train}
        assert not {case[n] for n in parts.unseen_cases} & {case[n] for n in parts.later_days}
        assert {case[n] for n in parts.later_days} <= {case[n] for n in parts.train}


@given(datasets())
def test_over_the_folds_every_usable_scan_is_unseen_exactly_once(scans: list[Sample]) -> None:
    unseen = [n for fold in range(FOLDS) for n in split_samples(scans, fold=fold).unseen_cases]

    usable = [s.name for s in scans if s.part == "train" and not s.excluded]
    assert sorted(unseen) == sorted(usable)


@given(datasets())
def test_a_later_day_is_the_last_of_a_case_with_three_days(scans: list[Sample]) -> None:
    for fold in range(FOLDS):
        for name in split_samples(scans, fold=fold).later_days:
            case = name.split("_")[0]
            days = [s.day for s in scans if s.case == case and s.part == "train" and not s.excluded]
            assert len(days) >= MIN_DAYS
            assert name == f"{case}_day{max(days)}"


@given(datasets())
def test_held_out_cases_are_touched_by_no_fold(scans: list[Sample]) -> None:
    held = scans[0].case
    if len({s.case for s in scans}) == FOLDS:
        return
    for fold in [*range(FOLDS), "all"]:
        parts = split_samples(scans, fold=fold, hold_out=[held])
        touched = [*parts.train, *parts.unseen_cases, *parts.later_days]
        assert not [n for n in touched if n.startswith(f"{held}_")]
        assert parts.hold_out


def test_folds_are_stratified_by_matrix_size() -> None:
    scans = [sample(f"case{i}", 0, shape=(9, 7, 5) if i < 10 else (11, 8, 5)) for i in range(15)]

    for fold in range(FOLDS):
        unseen = [s for s in scans if s.name in split_samples(scans, fold=fold).unseen_cases]
        assert sorted(s.shape for s in unseen) == [(9, 7, 5), (9, 7, 5), (11, 8, 5)]


def test_folds_are_stratified_by_the_cases_that_have_later_days() -> None:
    scans = [sample(f"case{i}", day) for i in range(15) for day in range(MIN_DAYS if i < 5 else 1)]

    for fold in range(FOLDS):
        unseen = split_samples(scans, fold=fold).unseen_cases
        assert len(unseen) == MIN_DAYS + 2


@given(datasets())
def test_the_order_in_which_scans_come_does_not_matter(scans: list[Sample]) -> None:
    for fold in [*range(FOLDS), "all"]:
        assert split_samples(scans, fold=fold) == split_samples(scans[::-1], fold=fold)


def test_another_seed_deals_the_cases_otherwise() -> None:
    scans = [sample(f"case{i}", 0) for i in range(10)]

    dealt = [split_samples(scans, fold=0, seed=seed).unseen_cases for seed in range(5)]

    assert len(set(dealt)) > 1


def test_too_few_cases_for_folds_says_what_to_do() -> None:
    with pytest.raises(UserError, match=r"5 folds need at least 5 .* has 1; set data.split=none"):
        split_samples([sample("case1", 0)], fold=0)


def test_an_unknown_held_out_case_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"data.hold_out: case132: .* did you mean case123\?"):
        split_samples([sample("case123", 0), sample("case7", 0)], fold="all", hold_out=["case132"])


def test_holding_everything_out_is_an_error() -> None:
    with pytest.raises(UserError, match="no labelled scan is left"):
        split_samples([sample("case1", 0)], fold="all", hold_out=["case1"])
