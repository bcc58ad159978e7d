"""How long does it take to find out what is done, by so many records? None of it needs a network.

    .venv/bin/python benchmarks/ledger.py [OUT] [--scans 1000 10000]

Writes as many records as `volseg infer` would, four days a case, and times what reads them: `volseg status`,
and what `infer` does once at its end, by itself and as a share of an array.
"""

import argparse
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from volseg.inference.confidence.calibration_file import CalibrationFigures, ClassCalibration, ReferenceRanges
from volseg.inference.confidence.day_changes import flag_day_changes
from volseg.inference.confidence.temperature_scaling import TemperatureScaling
from volseg.inference.prediction_folder import RECORD, RECORDS, gather_records, read_records
from volseg.inference.prediction_record import Computation, Confidence, PredictionRecord
from volseg.inference.status import StatusReader

CLASSES = ("large_bowel", "small_bowel", "stomach")
DAYS = 4
STEPS = ("read", "normalise", "network", "blend", "restore", "postprocess", "review", "write")


def record(number: int) -> PredictionRecord:
    """A record of full size."""
    case, day = f"case{number // DAYS}", number % DAYS
    told = Confidence(dice=0.91, calibrated=True, volume_ml=123.4, slices=((3, 9), (12, 40)))
    files = [*(f"{name}.nii.gz" for name in CLASSES), "rle.csv"]
    finished = datetime.now(UTC).isoformat(timespec="seconds")
    return PredictionRecord(
        scan=f"{case}_day{day}", case=case, day=day, status="done", run="mine", weights="a" * 64,
        classes=CLASSES, seen="none", key="b" * 64, source=(f"/data/images/{case}_day{day}.nii.gz",),
        image_hash="c" * 64, files=dict.fromkeys(files, "d" * 64), seconds=dict.fromkeys(STEPS, 1.234),
        confidence=dict.fromkeys(CLASSES, told), check=((3, 9),),
        computed=Computation(host=f"node{number % 5}", process="4711-1", loads=1, finished=finished),
    )  # fmt: skip


def known() -> dict[str, ClassCalibration]:
    """What calibration knows of each class, so that days are compared."""
    nothing = CalibrationFigures(spearman=None, dice_error=None, ece=None)
    volumes = {f"train{number}_day{day}": 100.0 + day for number in range(60) for day in range(DAYS)}
    usual = ReferenceRanges(
        scans=len(volumes), volume_ml=volumes, most_parts=1, intensity=None, border_mm=None
    )
    organ = ClassCalibration(calibration=TemperatureScaling(), usual=usual, before=nothing, after=nothing)
    return dict.fromkeys(CLASSES, organ)


def timed(work: Callable[[], object]) -> float:
    """The seconds of a processor that it takes: the machine may be shared."""
    start = time.process_time()
    work()
    return time.process_time() - start


def measure(out: Path, scans: int) -> None:
    """Print a row of the table."""
    for number in range(scans):
        one = record(number)
        (out / one.scan).mkdir(parents=True, exist_ok=True)
        (out / one.scan / RECORD).write_text(one.model_dump_json(indent=1) + "\n")
    reader, records = StatusReader(out), read_records(out)
    seconds = [
        timed(reader.read),
        timed(reader.read),
        timed(lambda: read_records(out)),
        timed(lambda: flag_day_changes(records, records, known())),
        timed(lambda: gather_records(out, records)),
    ]
    size = (out / RECORDS).stat().st_size / 1e6
    print(
        f"| {scans} | " + " | ".join(f"{value:.2f} s" for value in seconds) + f" | {size:.1f} MB |",
        flush=True,
    )


def main() -> None:
    """Measure each number of scans in a folder of its own, which is removed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", nargs="?", type=Path, default=Path("ledger"))
    parser.add_argument("--scans", type=int, nargs="+", default=[1_000, 10_000])
    given = parser.parse_args()
    print("| scans | status | status again | all records | days compared | gathered | predictions.json |")
    print("|---|---|---|---|---|---|---|")
    for scans in given.scans:
        folder = given.out / str(scans)
        if folder.exists():
            raise SystemExit(f"{folder}: exists; name another folder")
        try:
            measure(folder, scans)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
