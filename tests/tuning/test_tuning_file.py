"""`tune.json`: what is written is read again, and damage is told."""

import math

import pytest

from volseg.errors import UserError
from volseg.tuning.tuning_file import ClassTuning, Gain, TuningFile, TuningRow

GAIN = Gain(mean=0.02, low=0.01, high=0.03, cases=9)


def tuned(**changes) -> TuningFile:
    organ = ClassTuning(before=0.7, after=0.72, gain=GAIN, steps_before=(), steps_after=("largest count=1",))
    step = {"slot": "largest", "was": "none", "chosen": "largest count=1"}
    row = TuningRow(organ="stomach", **step, gain=GAIN, kept=True)
    values = {
        "score": "kaggle", "scans": 18, "cases": 9, "version": "0.1.0", "date": "2026-11-26",
        "seconds": 61.5, "weights": ("ab",), "before": 0.7, "after": 0.72, "gain": GAIN,
        "organs": {"stomach": organ}, "rows": (row,), "untried": ("fill_holes",), "notes": ("So.",),
    }  # fmt: skip
    return TuningFile(**{**values, **changes})


def test_what_is_written_is_read_again(tmp_path) -> None:
    assert TuningFile.read(tmp_path) is None

    tuned().write(tmp_path)

    assert TuningFile.read(tmp_path) == tuned()
    assert (tmp_path / "tune.json").is_file()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{}", "score: missing; make it anew with `volseg tune`"),
        ('{"scor": 1}', "scor: unknown key, did you mean score?"),
        ("no json", "tune.json: Invalid JSON"),
    ],
)
def test_a_damaged_file_is_told_with_what_to_do(tmp_path, text, told) -> None:
    (tmp_path / "tune.json").write_text(text)

    with pytest.raises(UserError) as error:
        TuningFile.read(tmp_path)

    assert told in str(error.value)


@pytest.mark.parametrize(
    ("cases", "low", "high", "sure", "basis"),
    [
        (9, 0.001, 0.03, True, "9 cases"),
        (9, 0.0, 0.03, False, "9 cases"),
        (9, -0.03, -0.01, False, "9 cases"),
        (6, None, None, False, "no interval: 6 cases, 8 are needed"),
    ],
)
def test_a_gain_is_sure_only_if_its_interval_lies_above_zero(cases, low, high, sure, basis) -> None:
    gain = Gain(mean=0.02, low=low, high=high, cases=cases)

    assert gain.is_significant is sure
    assert gain.estimate.interval_basis == basis
    assert math.isnan(gain.estimate.low) is (low is None)


def test_a_gain_that_nothing_was_measured_for_is_none_and_no_0() -> None:
    gain = Gain(mean=None, low=None, high=None, cases=0)
    row = tuned().rows[0].model_copy(update={"gain": gain, "kept": False})

    assert gain.estimate.to_text() == "-"
    assert row.had_alternatives
    assert not row.model_copy(update={"chosen": row.was}).had_alternatives
