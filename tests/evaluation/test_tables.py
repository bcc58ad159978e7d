"""Tables of scores say all that they ought to, on lines of any width."""

import dataclasses
import io
import re

import numpy as np
import pytest
from rich.console import Console

from volseg.evaluation.scan_scores import NAMES, ScanInfo
from volseg.evaluation.summary import Scores
from volseg.evaluation.tables import metric_tables, summary_table
from volseg.metrics.kaggle_score import KaggleTerms

ORGANS = ("large_bowel", "small_bowel", "stomach")


def scores(
    cases: int, *, organs: tuple[str, ...] = ORGANS, competition: bool = True, **told: float
) -> Scores:
    """Two scans of each case with random values, of two runs; `told` replaces a metric's."""
    rng = np.random.default_rng(0)
    scans = []
    for number in range(cases):
        for day in (1, 2):
            origin = ScanInfo(
                scan=f"case{number}_day{day}", case=f"case{number}", seen="none", day=day,
                run=f"five/fold{number % 2}", matrix="266x266", competition=competition,
            )  # fmt: skip
            values = {
                organ: {
                    name: float(rng.uniform(0.1, 1) * (1 if "D" in name and "H" not in name else 50))
                    for name in NAMES
                }
                | told
                for organ in organs
            }
            part = KaggleTerms(rng.uniform(size=(len(organs), 4)), rng.uniform(size=len(organs)), 0.5)
            scans.append(origin.with_scores(values, part))
    return Scores(tuple(scans), runs=("five/fold0", "five/fold1"))


def shown(*tables: object, width: int = 80) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    for one in tables:
        console.print(one)
    return console.export_text()


def cells(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith(("│", "┃"))]
    return [[cell.strip() for cell in re.split("[│┃]", line)[1:-1]] for line in lines]


@pytest.mark.parametrize("width", [60, 80, 100_000])
@pytest.mark.parametrize("cases", [3, 12])
def test_every_metric_and_class_is_there_in_full_whatever_the_width(width: int, cases: int) -> None:
    text = shown(metric_tables(scores(cases)), width=width)
    columns = zip(*cells(text), strict=True)
    rows, *classes = ["".join(column) for column in columns]

    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    for name in ("Dice", "HD95mm", "NSD2mm", "trueml", "offbyml", "Dice*", "HD95*mm", "Kaggle"):
        assert name in rows.replace(" ", "")
    for name, column in zip((*ORGANS, "mean"), classes, strict=True):
        assert column.startswith(name)
        assert column.count("[") == {3: 0, 12: 10 + (name == "mean")}[cases]


def test_the_competitions_score_is_told_of_its_own_data_alone() -> None:
    own, other = (scores(12, competition=competition) for competition in (True, False))

    for found, times in ((own, 1), (other, 0)):
        assert shown(metric_tables(found)).count("Kaggle") == times
        assert shown(summary_table("run", found.by_run)).count("Kaggle") == times
        assert found.headline.line.count("Kaggle") == times
    assert other.headline.line.startswith("Dice 0.")
    assert other.headline.line.endswith("], 12 cases")


def test_a_mean_stands_above_its_interval() -> None:
    found = scores(12)
    text = shown(metric_tables(found))
    dice = found.headline.intervals.mean["stomach"]["Dice"]
    row, below = cells(text)[2:4]

    assert (row[0], row[3]) == ("Dice", f"{dice.mean:.3f}")
    assert below[3] == f"[{dice.low:.3f}, {dice.high:.3f}]"
    assert "unseen cases: 24 scans of 12 cases" in text
    assert "95 % interval" in text
    assert "95 % interval" not in shown(metric_tables(scores(3)))


def test_what_was_missed_is_counted_beside_the_mean() -> None:
    text = shown(metric_tables(scores(3, HD=np.inf, HD95=5.04)))

    assert [row[1] for row in cells(text) if row[0] == "HD mm"] == ["- +6"]
    assert [row[4] for row in cells(text) if row[0] == "HD mm"] == ["- +18"]
    assert [row[1] for row in cells(text) if row[0] == "HD95 mm"] == ["5.0"]
    assert "+n: n organs missed" in text
    assert "+n" not in shown(metric_tables(scores(3)))


def test_nothing_is_less_than_nothing() -> None:
    text = shown(metric_tables(scores(3, volume_difference_ml=-0.01)))

    assert [row[1] for row in cells(text) if row[0] == "off by ml"] == ["0.0"]


def test_groups_stand_apart_and_the_headline_is_last() -> None:
    one, other, *_ = scores(2).scans
    text = shown(metric_tables(Scores((one, dataclasses.replace(other, seen="scan")))))
    titles = [line.strip() for line in text.splitlines() if " of 1 case" in line]

    assert titles == [
        "unseen cases: 1 scan of 1 case",
        "seen scans: 1 scan of 1 case",
        "unseen scans: 1 scan of 1 case",
    ]


def test_many_classes_take_several_tables_and_one_title() -> None:
    organs = tuple(f"organ{number}" for number in range(9))
    text = shown(metric_tables(scores(3, organs=organs)))
    headers = [row[1:] for row in cells(text) if "organ" in row[1] or "mean" in row[-1]]

    assert headers == [
        ["organ0", "organ1", "organ2", "organ3"],
        ["organ4", "organ5", "organ6", "organ7"],
        ["organ8", "mean"],
    ]
    assert text.count("6 scans of 3 cases") == 1
    assert text.count("Kaggle") == 1


@pytest.mark.parametrize("width", [60, 80])
def test_a_line_for_each_run_case_day_and_size(width: int) -> None:
    found = scores(20)
    for made, names in (
        (summary_table("run", found.by_run), ["five/fold0", "five/fold1"]),
        (summary_table("matrix", found.summaries_by("matrix")), ["266x266"]),
        (summary_table("day", found.summaries_by("day")), ["1", "2"]),
    ):
        text = shown(made, width=width)
        first = "".join(row[0] for row in cells(text))
        assert "…" not in text
        for name in names:
            assert name in first
    assert "[0." in shown(summary_table("run", found.by_run))
