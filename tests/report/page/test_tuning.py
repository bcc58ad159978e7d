"""What is said of tuning: no more than its interval allows."""

import re

import pytest

from tests.tuning.test_tuning_file import GAIN, tuned
from volseg.report.page.content import ReportContent
from volseg.report.page.tuning import result_sentence, tuning_changes
from volseg.tuning.tuning_file import Gain


class Run:
    """What the section asks of a run."""

    def __init__(self, name: str, found) -> None:
        self.name, self.tuned = name, found


def gained(mean: float, low: float | None, high: float | None, cases: int = 9) -> Gain:
    return Gain(mean=mean, low=low, high=high, cases=cases)


@pytest.mark.parametrize(
    ("gain", "said"),
    [
        (GAIN, "The tuned steps are better: the mean competition's score went from 0.700 to 0.720, "
         "a gain of +0.020 [+0.010, +0.030] (9 cases)."),
        (gained(0.02, -0.01, 0.05), "It is not sure that the tuned steps are better: the mean "
         "competition's score went from 0.700 to 0.720, a gain of +0.020 [−0.010, +0.050] (9 cases), "
         "which holds 0."),
        (gained(0.02, 0.0, 0.05), "It is not sure that the tuned steps are better: the mean "
         "competition's score went from 0.700 to 0.720, a gain of +0.020 [+0.000, +0.050] (9 cases), "
         "which holds 0."),
        (gained(0.02, None, None, 6), "It is not sure that the tuned steps are better: the mean "
         "competition's score went from 0.700 to 0.720, a gain of +0.020 (no interval: 6 cases, 8 are "
         "needed)."),
        (gained(-0.02, -0.03, -0.01), "The tuned steps are worse: the mean competition's score went "
         "from 0.700 to 0.720, a gain of −0.020 [−0.030, −0.010] (9 cases)."),
    ],
)  # fmt: skip
def test_the_result_claims_no_more_than_its_interval(gain, said) -> None:
    assert result_sentence(tuned(gain=gain)) == said


def test_where_no_step_is_kept_nothing_helped() -> None:
    row = tuned().rows[0].model_copy(update={"kept": False})

    said = "Nothing helped: the steps stay as they were, with a mean Dice of 0.700."
    assert result_sentence(tuned(rows=(row,), score="dice")) == said
    assert result_sentence(tuned(rows=(), score="dice")) == said


@pytest.mark.parametrize(
    ("gain", "kept", "told"),
    [
        (GAIN, True, ["+0.020", "+0.010 to +0.030", "kept"]),
        (GAIN, False, ["+0.020", "+0.010 to +0.030", "not kept"]),
        (gained(0.02, -0.01, 0.05), True, ["+0.020", "−0.010 to +0.050", "kept, may be chance"]),
        (gained(0.02, None, None, 6), True,
         ["+0.020", "no interval: 6 cases, 8 are needed", "kept, no interval"]),
    ],
)  # fmt: skip
def test_a_row_says_what_its_gain_is_worth(gain, kept, told) -> None:
    row = tuned().rows[0].model_copy(update={"gain": gain, "kept": kept})

    text = tuning_changes(ReportContent("a", "a", trained=(Run("a", tuned(rows=(row,))),)))

    table = re.search(r"<h3>By step</h3>.*?</table>", text)[0]
    cells = re.findall(r">([^<>]+)<", table)
    assert cells[-7:] == ["stomach", "largest", "none", "largest count=1", *told]


def test_what_was_not_tried_and_notes_are_told() -> None:
    text = tuning_changes(ReportContent("a", "a", trained=(Run("a", tuned()),)))

    assert "No time was left to try fill_holes." in text
    assert '<p class="prose">So.</p>' in text
    assert tuning_changes(ReportContent("a", "a", trained=(Run("a", None),))) == ""


def test_each_tuning_is_told_once_and_of_which_runs() -> None:
    runs = [Run("a", tuned()), Run("b", tuned(seconds=1.0)), Run("c", tuned()), Run("d", None)]

    text = tuning_changes(ReportContent("a", "a", trained=tuple(runs)))

    assert re.findall(r"<h3>(.*?)</h3>", text) == [
        "a, c", "By step", "By class", "b", "By step", "By class"
    ]  # fmt: skip


def test_where_every_choice_of_cases_left_a_step_as_it_was_it_has_no_row() -> None:
    row = tuned().rows[0]
    same = row.model_copy(update={"chosen": row.was, "gain": gained(0.0, 0.0, 0.0)})
    now_and_then = row.model_copy(update={"chosen": row.was, "gain": gained(-0.01, -0.02, 0.0)})

    text = tuning_changes(ReportContent("a", "a", trained=(Run("a", tuned(rows=(same, now_and_then))),)))

    table = re.search(r"<h3>By step</h3>.*?</table>", text)[0]
    assert table.count('<th scope="row">') == 1
    assert "−0.010" in table
    assert "All other steps were tried" in text
    assert "All other steps" not in tuning_changes(ReportContent("a", "a", trained=(Run("a", tuned()),)))
