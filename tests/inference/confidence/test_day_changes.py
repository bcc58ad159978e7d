import math
import time
from itertools import product

import pytest

from volseg.inference.confidence.calibration_file import CalibrationFigures, ClassCalibration, ReferenceRanges
from volseg.inference.confidence.day_changes import flag_day_changes
from volseg.inference.confidence.temperature_scaling import TemperatureScaling
from volseg.inference.prediction_record import Confidence, PredictionRecord

NOTHING = CalibrationFigures(spearman=None, dice_error=None, ece=None)


def known(cases: dict[str, str] | None = None, **volumes: float) -> dict[str, ClassCalibration]:
    usual = ReferenceRanges(
        scans=9, volume_ml=volumes, most_parts=1, intensity=None, border_mm=None, cases=cases or {}
    )
    organ = ClassCalibration(calibration=TemperatureScaling(), usual=usual, before=NOTHING, after=NOTHING)
    return {"stomach": organ}


TWICE = {"case8_day0": 100.0, "case8_day1": 200.0}
"""Of training's cases one changes by two times."""


def record(scan: str, volume: float, status: str = "done", case: str = "") -> PredictionRecord:
    told = Confidence(dice=0.9, calibrated=True, volume_ml=volume)
    return PredictionRecord(
        scan=scan, case=case, status=status, classes=("stomach",), seen="none", confidence={"stomach": told}
    )


def texts(records: list[PredictionRecord]) -> dict[str, list[str]]:
    return {r.scan: [flag.text for flag in r.confidence["stomach"].flags] for r in records}


def test_a_change_that_training_never_saw_is_told() -> None:
    days = [record("case1_day0", 100), record("case1_day1", 110), record("case1_day2", 40)]

    found = texts(flag_day_changes(days, [], known(**TWICE)))

    assert found["case1_day0"] == found["case1_day1"] == []
    assert found["case1_day2"] == [
        "40 ml, on other days 105 ml: 2.6 times (training: at most 2.0 between two days)"
    ]


def test_days_predicted_earlier_and_days_trained_on_count() -> None:
    today = record("case1_day5", 300)

    earlier = flag_day_changes([today], [record("case1_day0", 100)], known(**TWICE))
    trained = flag_day_changes([today], [], known(case1_day0=100.0, **TWICE))
    assert "on other days 100 ml" in texts(earlier)["case1_day5"][0]
    assert "on other days 100 ml" in texts(trained)["case1_day5"][0]


def test_other_cases_failed_days_and_the_scan_itself_do_not_count() -> None:
    today = record("case1_day5", 300)
    others = [
        record("case2_day0", 10),
        record("case11_day5", 10),
        record("case1_day0", 10, "failed"),
        record("case1_day5", 10),
    ]

    assert texts(flag_day_changes([today], others, known(**TWICE)))["case1_day5"] == []


def test_without_cases_of_several_days_or_a_calibration_nothing_is_said() -> None:
    days = [record("case1_day0", 100), record("case1_day1", 1)]

    assert flag_day_changes(days, [], {}) == days
    assert flag_day_changes(days, [], known(case7_day0=3.0)) == days


def test_judging_again_changes_nothing_and_a_reason_that_is_gone_goes() -> None:
    days = [record("case1_day0", 100), record("case1_day1", 10)]

    once = flag_day_changes(days, [], known(**TWICE))
    again = flag_day_changes(once, once, known(**TWICE))
    alone = flag_day_changes(once[:1], [], known(**TWICE))
    assert again == once
    assert alone == days[:1]


def test_days_of_a_case_are_those_that_the_tables_say_whatever_their_names() -> None:
    stated = known({"p": "anna", "q": "anna", "r": "bob"}, p=100.0, q=200.0, r=3.0)
    today = record("x_day1", 500, case="anna")

    by_table = flag_day_changes([today], [record("x_day2", 7, case="bob")], stated)

    assert "500 ml, on other days 141 ml: 3.5 times (training: at most 2.0" in texts(by_table)["x_day1"][0]
    assert stated["stomach"].usual.volumes.day_ratio == 2.0


@pytest.mark.parametrize("told", [True, False])
def test_the_mean_of_all_other_days_is_that_of_their_logarithms(told: bool) -> None:
    """For every scan of several cases, whether records tell the case or only names do."""
    scans = {
        f"case{case}_day{day}": 10.0 * case + 30 * day**2 for case, day in product(range(1, 5), range(4))
    }
    days = [record(scan, ml, case=scan.partition("_")[0] if told else "") for scan, ml in scans.items()]

    found = texts(flag_day_changes(days, days, known(**TWICE)))

    for scan, own in scans.items():
        others = [v for name, v in scans.items() if name != scan and name[:6] == scan[:6]]
        mean = math.prod(others) ** (1 / len(others))
        ratio = max(own / mean, mean / own)
        assert (f"{ratio:.1f} times" in found[scan][0]) if ratio > 2 else found[scan] == []


def test_three_thousand_scans_are_compared_in_seconds() -> None:
    """Each scan with the days of its own case: with all other scans it takes minutes."""
    days = [
        record(f"case{number // 4}_day{number % 4}", 100, case=str(number // 4)) for number in range(3_000)
    ]

    start = time.process_time()
    flag_day_changes(days, days, known(**TWICE))

    assert time.process_time() - start < 10
