"""`tune.json`: what is written is read again, and damage is told."""

import json
import math

import pytest

from volseg.errors import UserError
from volseg.tuning.tables import provenance_lines, result_sentence, tuning_table
from volseg.tuning.tuning_file import ClassTuning, Gain, TuningFile, TuningRow

GAIN = Gain(mean=0.02, low=0.01, high=0.03, cases=9)


def tuned(**changes) -> TuningFile:
    organ = ClassTuning(before=0.7, after=0.72, gain=GAIN, steps_before=(), steps_after=("largest count=1",))
    step = {"slot": "largest", "was": "none", "chosen": "largest count=1"}
    row = TuningRow(organ="stomach", **step, kept=True)
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
    assert Gain(mean=None, low=None, high=None, cases=0).estimate.to_text() == "-"


def test_a_file_of_an_earlier_version_is_read_and_changed_only_what_it_kept(tmp_path) -> None:
    """Its rows had gains, and steps that were chosen and not kept."""
    old = json.loads(tuned().model_dump_json())
    gain = GAIN.model_dump()
    old["rows"] = [old["rows"][0] | {"gain": gain, "kept": kept} for kept in (True, False)]
    (tmp_path / "tune.json").write_text(json.dumps(old))

    found = TuningFile.read(tmp_path)

    assert found.has_improvements
    assert found.changes == found.rows[:1]
    assert found.rows[0].gain == GAIN


def sentence(**changes) -> str:
    return result_sentence(tuned(**changes))


def gained(mean: float, low: float | None, high: float | None, cases: int = 9) -> Gain:
    return Gain(mean=mean, low=low, high=high, cases=cases)


EXPECTED = "new cases can expect a mean competition's score of 0.720 instead of 0.700, a gain of"


@pytest.mark.parametrize(
    ("gain", "said"),
    [
        (GAIN, f"The tuned steps are better: {EXPECTED} +0.020 [+0.010, +0.030] (9 cases, each judged by "
         "what the others chose)."),
        (gained(0.02, 0.0, 0.05), f"It is not sure that the tuned steps are better: {EXPECTED} +0.020 "
         "[+0.000, +0.050] (9 cases, each judged by what the others chose), and the interval holds 0."),
        (gained(-0.02, -0.03, -0.01), f"The tuned steps are worse: {EXPECTED} -0.020 [-0.030, -0.010] "
         "(9 cases, each judged by what the others chose)."),
    ],
)  # fmt: skip
def test_the_result_claims_no_more_than_its_interval(gain, said) -> None:
    assert sentence(gain=gain) == said


@pytest.mark.parametrize("cases", [3, 7])
def test_with_fewer_than_eight_cases_nothing_is_promised(cases) -> None:
    found = sentence(gain=gained(0.02, None, None, cases), cases=cases)

    assert found == (
        f"The steps are changed, but {cases} cases are too few to promise new cases anything; 8 are needed."
    )


@pytest.mark.parametrize("kept", [(), (False,)])
def test_where_no_step_is_changed_nothing_helped(kept) -> None:
    rows = tuple(tuned().rows[0].model_copy(update={"kept": one}) for one in kept)

    assert sentence(rows=rows, score="dice") == (
        "Nothing helped by more than its spread over 9 cases: the steps stay as they were, with a mean Dice "
        "of 0.700."
    )


@pytest.mark.parametrize(
    ("cases", "reason"),
    [
        (3, "3 cases are too few to show that a step helps; 5 are needed"),
        (6, "Nothing helped by more than its spread over 6 cases"),
    ],
)
def test_with_few_cases_that_change_nothing_nothing_is_promised_either(cases, reason) -> None:
    assert sentence(rows=(), cases=cases) == (
        f"{reason}: the steps stay as they were, with a mean competition's score of 0.700. And {cases} cases "
        "are too few to promise new cases anything; 8 are needed."
    )


def test_what_changed_is_told_by_class_and_above_the_steps() -> None:
    organ = tuned().organs["stomach"]
    table = tuning_table(tuned(organs={"stomach": organ, "bowel": organ}))

    assert [[str(cell) for cell in column.cells] for column in table.columns] == [
        ["stomach", "bowel"], ["none -> largest count=1", "nothing"], ["largest count=1"] * 2
    ]  # fmt: skip
    assert list(provenance_lines(tuned())) == [
        "By volseg tune 0.1.0 on 2026-11-26, on 18 scans of 9 cases:",
        "  stomach: none -> largest count=1",
        result_sentence(tuned(), 4),
    ]
