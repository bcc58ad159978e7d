"""What is said of tuning: no more than its interval allows."""

import html
import re

from tests.tuning.test_tuning_file import tuned
from volseg.report.page.content import ReportContent
from volseg.report.page.tuning import tuning_changes
from volseg.tuning.tables import result_sentence
from volseg.tuning.tuning_file import Gain


class Run:
    """What the section asks of a run."""

    def __init__(self, name: str, found) -> None:
        self.name, self.tuned = name, found


def told(found) -> str:
    return tuning_changes(ReportContent("a", "a", trained=(Run("a", found),)))


def cells(text: str, title: str) -> list[str]:
    table = re.search(rf"<h3>{title}</h3>.*?</table>", text, re.DOTALL)[0]
    return re.findall(r">\s*([^<>\s][^<>]*?)\s*<", table)


def test_the_sentence_and_what_changed_are_those_of_the_command() -> None:
    text = told(tuned())

    assert html.escape(result_sentence(tuned()), quote=False) in html.unescape(text)
    assert cells(text, "By step")[-4:] == ["stomach", "largest", "none", "largest count=1"]


def test_by_class_scores_after_tuning_are_told_with_their_interval() -> None:
    found = cells(told(tuned()), "By class")

    assert found[-7:] == [
        "stomach",
        "0.700",
        "0.720",
        "+0.020",
        "+0.010 to +0.030",
        "none",
        "largest count=1",
    ]


def test_with_fewer_than_eight_cases_no_score_after_tuning_is_told() -> None:
    few = Gain(mean=0.02, low=None, high=None, cases=6)
    organ = tuned().organs["stomach"].model_copy(update={"gain": few})

    text = told(tuned(cases=6, gain=few, organs={"stomach": organ}))

    assert "6 cases are too few to promise new cases anything" in text
    assert cells(text, "By class")[-6:] == [
        "0.700", "–", "–", "no interval: 6 cases, 8 are needed", "none", "largest count=1"
    ]  # fmt: skip
    assert "0.720" not in text
    assert "0.020" not in text


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


def test_steps_that_were_not_changed_have_no_row() -> None:
    row = tuned().rows[0]
    same = row.model_copy(update={"chosen": row.was, "kept": False})

    text = told(tuned(rows=(same, row)))

    table = re.search(r"<h3>By step</h3>.*?</table>", text, re.DOTALL)[0]
    assert table.count('<th scope="row">') == 1
    assert "All other kinds of steps were tried" in text
    assert "All other kinds" not in told(tuned())
