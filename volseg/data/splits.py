"""Splits by fold in which no case is in training and validation, but for later days of seen cases."""

from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

import numpy as np

from volseg.data.dataset import Sample
from volseg.errors import UserError, nearest_hint

FOLDS = 5
MIN_DAYS = 3  # of a case that gives its last day to `later_days`, so that two are left for training


class Split(NamedTuple):
    """Names of scans. No scan is in two sets; no case is in both `train` and `unseen_cases`."""

    train: tuple[str, ...]
    unseen_cases: tuple[str, ...] = ()
    later_days: tuple[str, ...] = ()
    hold_out: tuple[str, ...] = ()


def split_samples(
    samples: Sequence[Sample], *, fold: int | Literal["all"], hold_out: Collection[str] = (), seed: int = 0
) -> Split:
    """The sets of a fold, of labelled scans of the training part that are not excluded.

    Cases are dealt to five groups, stratified by matrix size and number of days. Fold k keeps group k as
    `unseen_cases` and the last day of group k+1 as `later_days`; "all" trains on everything. `hold_out` names
    cases that no fold touches.

    Raises:
        UserError: an unknown case in `hold_out`, or nothing left to train or validate on.
    """
    usable = [s for s in samples if s.labels is not None and s.part == "train" and not s.excluded]
    cases = _samples_by_case(usable)
    _check_hold_out(hold_out, {sample.case for sample in samples})
    held = tuple(s.name for case in cases if case in hold_out for s in cases[case])
    if not cases:
        raise UserError("no labelled scan to train on; is train.csv beside train/?")
    open_cases = {case: scans for case, scans in cases.items() if case not in hold_out}
    if not open_cases:
        raise UserError("data.hold_out: no labelled scan is left to train on; hold out fewer cases")
    if fold == "all":
        return Split(tuple(s.name for scans in open_cases.values() for s in scans), hold_out=held)
    if len(open_cases) < FOLDS:
        raise UserError(
            f"{FOLDS} folds need at least {FOLDS} labelled cases, the dataset has {len(open_cases)}; "
            "set data.split=none to train without validation"
        )
    return _split_fold(open_cases, fold, held, seed=seed)


def _split_fold(cases: dict[str, list[Sample]], fold: int, held: tuple[str, ...], *, seed: int) -> Split:
    group = _case_groups(cases, seed)
    unseen = [s.name for case, scans in cases.items() if group[case] == fold for s in scans]
    later = [
        scans[-1].name
        for case, scans in cases.items()
        if group[case] == (fold + 1) % FOLDS and len(scans) >= MIN_DAYS
    ]
    validation = {*unseen, *later}
    train = [s.name for scans in cases.values() for s in scans if s.name not in validation]
    return Split(tuple(train), tuple(unseen), tuple(later), held)


def _samples_by_case(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    cases: dict[str, list[Sample]] = {}
    for sample in sorted(samples, key=lambda s: (s.case, s.day)):
        cases.setdefault(sample.case, []).append(sample)
    return cases


def _case_groups(cases: dict[str, list[Sample]], seed: int) -> dict[str, int]:
    """The group 0..4 of each case: sorted by days and shape, cases are dealt round in turn."""
    names = list(cases)
    shuffled = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    stratified = sorted(shuffled, key=lambda c: (len(cases[c]) >= MIN_DAYS, cases[c][0].shape))
    return {case: position % FOLDS for position, case in enumerate(stratified)}


def _check_hold_out(hold_out: Collection[str], known: Collection[str]) -> None:
    problems = [
        f"data.hold_out: {case}: no such case in the dataset{nearest_hint(case, known)}"
        for case in hold_out
        if case not in known
    ]
    if problems:
        raise UserError.from_problems(problems)
