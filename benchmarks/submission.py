"""Do all masks of a whole competition stay the same strings when decoded and encoded, and how fast?

The strings of all 272 scans are decoded to masks, as another tool would leave them: `<scan>/<class>.nii.gz`
without a record. `volseg submit` encodes them again, and every string must be the one it was; `volseg
evaluate` scores them against themselves, and every score must be perfect.

    .venv/bin/python benchmarks/submission.py DATA [FOLDER]

DATA holds `uwmgi_labels/train.csv.gz` and `scans.csv`; FOLDER (by default a temporary one) keeps the masks.
"""

import csv
import gzip
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import numpy as np

from volseg.data.dataset import Dataset, DatasetInfo, Sample
from volseg.data.layouts.gi_tract.rle import decode
from volseg.data.scan_names import case_and_day
from volseg.data.volume import Volume, stack_affine
from volseg.data.volume_files import write_volume

CLASSES = ("large_bowel", "small_bowel", "stomach")
SLICE_MM = 3.0
Row = tuple[str, str, str]


def read_rows(labels: Path) -> list[Row]:
    """Every slice's id, class and string, scan by scan."""
    with gzip.open(labels / "train.csv.gz", "rt", newline="") as file:
        return [(row["id"], row["class"], row["segmentation"]) for row in csv.DictReader(file)]


def write_scans(folder: Path, labels: Path, rows: list[Row]) -> Iterator[Sample]:
    """The decoded masks of each scan, as labels of a dataset and, the same files, as another tool's masks."""
    with (labels / "scans.csv").open(newline="") as file:
        sizes = {row["scan"]: row for row in csv.DictReader(file)}
    for scan, of_scan in groupby(rows, key=lambda row: row[0].rpartition("_slice_")[0]):
        by_slice: dict[int, dict[str, str]] = {}
        for id_, class_name, text in of_scan:
            by_slice.setdefault(int(id_.rpartition("_")[2]), {})[class_name] = text
        size = int(sizes[scan]["width"]), int(sizes[scan]["height"])
        pixel_mm = float(sizes[scan]["px_mm"])
        names = {name: f"labels/{scan}/{name}.nii.gz" for name in CLASSES}
        for name, file_name in names.items():
            mask = np.stack([decode(texts[name], size) for texts in by_slice.values()], axis=2)
            affine = stack_affine((pixel_mm, pixel_mm), SLICE_MM)
            write_volume(Volume(mask.view(np.uint8), affine), folder / "prepared" / file_name)
            (folder / "masks" / scan).mkdir(parents=True, exist_ok=True)
            os.link(folder / "prepared" / file_name, folder / "masks" / scan / f"{name}.nii.gz")
        case, day = case_and_day(scan)
        yield Sample(
            case=case,
            day=day,
            name=scan,
            part="train",
            source=scan,
            images=(f"images/{scan}.nii.gz",),
            labels=names,
            shape=(*size, len(by_slice)),
            spacing_mm=(pixel_mm, pixel_mm, SLICE_MM),
            slices=tuple(by_slice),
        )


def volseg(*words: str | Path) -> tuple[float, float, str]:
    """Seconds, the largest process in MB, and stdout of a command; ends where it fails."""
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen([sys.executable, "-m", "volseg", *map(str, words)], stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        out.seek(0)
        text = out.read()
    if status:
        sys.exit(f"volseg {words[0]}: exit {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - started, usage.ru_maxrss / 1000, text


def check_strings(rows: list[Row], file: Path) -> None:
    """End unless every string is there, and none other."""
    with file.open(newline="") as text:
        written = {(row["id"], row["class"]): row["predicted"] for row in csv.DictReader(text)}
    wrong = [row for row in rows if written.get(row[:2]) != row[2]]
    if wrong or len(written) != len(rows):
        sys.exit(f"{len(wrong)} of {len(rows)} strings are others, {len(written)} rows written: {wrong[:3]}")


def run_benchmark(data: Path, folder: Path) -> None:
    """Decode, submit and evaluate, and print what each took."""
    started = time.perf_counter()
    rows = read_rows(data / "uwmgi_labels")
    samples = tuple(write_scans(folder, data / "uwmgi_labels", rows))
    facts = DatasetInfo(
        name="uwmgi", layout="gi-tract", classes=CLASSES, exclusive=False, channels=("mr",), samples=samples
    )
    Dataset(folder / "prepared", facts).save()
    print(f"decoded: {len(samples)} scans, {len(rows)} strings in {time.perf_counter() - started:.0f} s")
    paths = (folder / "masks", "--data", folder / "prepared", "--out")
    seconds, memory, text = volseg("submit", *paths, folder / "submission.csv")
    check_strings(rows, folder / "submission.csv")
    print(f"submit: every string identical, {seconds:.0f} s, {memory:.0f} MB; {text.strip()}")
    seconds, memory, text = volseg("evaluate", *paths, folder / "scores")
    headline = text.strip().splitlines()[-1]
    if "Dice 1.000 [1.000, 1.000], Kaggle 1.000 [1.000, 1.000]" not in headline:
        sys.exit(f"not perfect: {headline}")
    print(f"evaluate: {headline}, {seconds:.0f} s, {memory:.0f} MB")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        run_benchmark(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else temporary))
