import io

from rich.console import Console

from volseg.inference.prediction_record import Confidence, Flag, PredictionRecord
from volseg.inference.tables import (
    NOT_CALIBRATED,
    STEPS,
    confidence_notes,
    confidence_rows,
    confidence_table,
    lowest_confidence,
    timing_table,
)


def record(scan: str, **dice: float | None) -> PredictionRecord:
    flag = Flag(sign="missing", text="not found, though every training scan has it")
    told = {
        name: Confidence(
            dice=value,
            calibrated=True,
            volume_ml=1.0,
            flags=(flag,) if name == "gone" else (),
            slices=((3, 5), (9, 9)),
        )
        for name, value in dice.items()
    }
    return PredictionRecord(scan=scan, status="done", classes=tuple(dice), seen="none", confidence=told)


RECORDS = [record("a", liver=0.9, stomach=0.4, gone=None, none=None), record("b", liver=0.6)]


def test_what_is_trusted_least_comes_first_and_what_may_well_be_absent_last() -> None:
    found = [(row.scan, row.class_name) for row in confidence_rows(RECORDS)]

    assert found == [
        ("a", "gone"), ("a", "stomach"), ("b", "liver"), ("a", "liver"), ("a", "none")
    ]  # fmt: skip


def test_the_table_is_short_and_says_how_many_are_left_out() -> None:
    shown = confidence_table(RECORDS, most=2)

    assert [list(column.cells) for column in shown.columns] == [
        ["a gone", "a stomach"],
        ["not found", "0.40"],
        ["3-5, 9", "3-5, 9"],
        ["not found, though every training scan has it", ""],
    ]
    assert shown.caption == "3 more in predictions.json"
    assert confidence_table(RECORDS).caption is None


def test_no_name_is_cut_in_60_columns() -> None:
    console = Console(width=60, record=True, file=io.StringIO())
    console.print(confidence_table([record("case123_day20", large_bowel=0.4), record("a[b]", gone=None)]))
    shown = console.export_text()

    for word in ("case123_day20", "large_bowel", "a[b] gone", "3-5, 9", "0.40"):
        assert word in shown
    assert "…" not in shown


def test_a_failed_scan_has_no_row() -> None:
    failed = PredictionRecord(scan="c", status="failed", classes=("liver",), seen="none")

    assert confidence_rows([failed]) == []


def test_a_scan_is_trusted_as_far_as_its_least_organ() -> None:
    told = [record("a", liver=0.9, stomach=0.4), record("b", liver=0.2, gone=None), record("c")]

    assert [lowest_confidence(one) for one in told] == [0.4, 0.0, float("inf")]


def test_times_fit_80_columns_from_milliseconds_to_hours() -> None:
    seconds = ((20, 0.004), (22, 1.2), (24, 450.0))
    done = [
        PredictionRecord(
            scan=f"case123_day{day}",
            status="done",
            classes=(),
            seen="none",
            seconds=dict.fromkeys(STEPS, one),
        )
        for day, one in seconds
    ]
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(timing_table(done))
    shown = [line.split() for line in console.export_text().splitlines()]

    assert ["case123_day20", *["0.004"] * 8, "0.032"] in shown
    assert ["case123_day22", *["1.200"] * 8, "9.600"] in shown
    assert ["case123_day24", *["450.0"] * 8, "3600"] in shown


def told(scan: str, **fields) -> PredictionRecord:
    confidence = Confidence(**{"dice": 0.9, "calibrated": True, "volume_ml": 1.0, **fields})
    return PredictionRecord(
        scan=scan, status="done", classes=("liver",), seen="none", confidence={"liver": confidence}
    )


def test_where_nobody_knows_the_dice_it_is_said_once_and_no_number_is_told() -> None:
    cut = Flag(sign="cut", text="touches the last slice")
    doubtful = [told("a", dice=None, doubt="ranks nothing"), told("b", dice=None, doubt="ranks nothing")]
    flagged = told("c", dice=None, doubt="ranks nothing", flags=(cut,))
    records = [*doubtful, told("d"), flagged, told("e", dice=None, volume_ml=0.0)]

    cells = list(confidence_table(records).columns[1].cells)

    assert [row.scan for row in confidence_rows(records)] == ["c", "d", "a", "b", "e"]
    assert cells == ["unknown", "0.90", "unknown", "unknown", "not found"]
    assert list(confidence_notes(records)) == ["unknown for liver: ranks nothing"]
    assert [lowest_confidence(one) for one in (*doubtful, flagged)] == 3 * [float("inf")]


def test_how_good_confidence_was_on_validation_stands_below_the_table() -> None:
    records = [told("a", range=(0.85, 0.94), error=0.031), told("b", range=(0.8, 0.9), error=0.031)]

    assert "0.90 (0.85-0.94)" in list(confidence_table(records).columns[1].cells)
    error, brackets = confidence_notes(records)
    assert error.endswith("had no part in it: liver 0.03")
    assert "eight masks in ten" in brackets
    assert list(confidence_notes([told("a", calibrated=False)])) == [NOT_CALIBRATED]
