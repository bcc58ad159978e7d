"""A folder of predictions is read whole, or it is said what is wrong with it."""

from pathlib import Path

import pytest

from tests import predicted
from volseg.errors import UserError
from volseg.inference.prediction_folder import gather_records, load_predictions, read_records
from volseg.inference.prediction_record import GateRecord


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    for scan in ("case10_day0", "case9_day0"):
        predicted.record(folder, scan)
    gather_records(folder, read_records(folder))
    return folder


def test_scans_come_in_natural_order(out: Path) -> None:
    assert [one.scan for one in load_predictions(out)] == ["case9_day0", "case10_day0"]


def test_scans_that_were_predicted_and_are_gone_are_named(out: Path) -> None:
    for scan in ("case9_day0", "case10_day0"):
        (out / scan / "record.json").unlink()
        (out / scan).rmdir()
    predicted.record(out, "case1_day0")

    with pytest.raises(UserError, match=r"missing: case10_day0, case9_day0; run `volseg infer`"):
        load_predictions(out)
    (out / "predictions.json").unlink()
    assert [one.scan for one in load_predictions(out)] == ["case1_day0"]


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"name": 3}]', "null"])
def test_a_damaged_list_of_predictions_names_nothing(out: Path, text: str) -> None:
    (out / "predictions.json").write_text(text)

    assert len(load_predictions(out)) == 2


def test_a_scan_or_a_file_is_no_folder_of_predictions(out: Path) -> None:
    with pytest.raises(UserError, match=f"one scan; name the folder that it lies in: {out}$"):
        load_predictions(out / "case9_day0")
    with pytest.raises(UserError, match="a file; name the folder"):
        load_predictions(out / "predictions.json")


def test_a_record_tells_runs_weights_and_gate_in_one_line(out: Path) -> None:
    record = load_predictions(out)[0].model_copy(update={"run": "a + b"})
    gate = GateRecord(run="c", weights="", probability=0.6, pixels=12)
    weighted = record.model_copy(update={"run_weights": {"runs/a": 0.6, "runs/b": 0.4}, "gate": gate})

    assert record.made_by == "a + b"
    assert weighted.made_by == "a + b (weights 0.6, 0.4), slices gated by c"
