"""A phantom dataset in the raw layout: slices, train.csv and a sample submission."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np

from volseg import console
from volseg.data.layouts.gi_tract import rle_csv, writer
from volseg.data.phantom.acquisition import CLASSES, simulate_scan
from volseg.data.phantom.schedule import LAST_CASE, LAST_DAY, ScheduledScan, kaggle_schedule, regular_schedule
from volseg.errors import UserError
from volseg.system.hardware import available_cores


@dataclass(frozen=True)
class PhantomSummary:
    """The labelled cases and scans, unlabelled test scans, and slices that were written."""

    cases: tuple[str, ...]
    scans: int
    test_scans: int
    slices: int
    labelled_slices: int


class WrittenScan(NamedTuple):
    """A written scan and its rows of train.csv."""

    order: ScheduledScan
    rows: list[rle_csv.RleRow]


def write_phantom(
    out: Path,
    *,
    cases: int = 16,
    days: int = 3,
    full_size: bool = False,
    seed: int = 0,
    workers: int | None = None,
) -> PhantomSummary:
    """Write `cases` labelled cases of `days` scans each, and an unlabelled test case, to `out`.

    case123 is always among them, with a day 20. The second case changes its matrix size after its first day.
    The result does not depend on `workers` (default: all cores).

    Raises:
        UserError: `out` exists and isn't an empty folder, or an argument is out of range.
    """
    _check_arguments(out, cases, days, workers)
    orders = regular_schedule(cases, days, full_size=full_size, rng=np.random.default_rng(seed))
    return _write_scans(out, orders, seed=seed, workers=workers)


def write_like_kaggle(out: Path, *, seed: int = 0, workers: int | None = None) -> PhantomSummary:
    """Write a dataset with the cases, days, sizes and listed bad scans of the competition's training set.

    85 labelled cases, 274 scans and 38,496 slices of about 58 kB.

    Raises:
        UserError: `out` exists and isn't an empty folder.
    """
    _check_arguments(out, 1, 1, workers)
    orders = kaggle_schedule(np.random.default_rng(seed))
    return _write_scans(out, orders, seed=seed, workers=workers)


def _write_scans(out: Path, orders: list[ScheduledScan], *, seed: int, workers: int | None) -> PhantomSummary:
    written = []
    with console.progress_bar("drawing") as report:
        for scan in _draw_scans(orders, partial(_write_scan, out, seed), workers or available_cores()):
            written.append(scan)
            report(len(written), len(orders))
    train = [scan for scan in written if scan.order.part == "train"]
    labelled = [row for scan in train for row in scan.rows]
    writer.write_phantom_mark(out)
    writer.write_tables(out, labelled)
    return PhantomSummary(
        cases=tuple(dict.fromkeys(f"case{scan.order.case}" for scan in train)),
        scans=len(train),
        test_scans=len(written) - len(train),
        slices=sum(scan.order.grid.shape[2] for scan in written),
        labelled_slices=len({row.id for row in labelled if row.predicted}),
    )


def _check_arguments(out: Path, cases: int, days: int, workers: int | None) -> None:
    writer.check_new(out)
    for name, count, most in (("cases", cases, LAST_CASE - 1), ("days", days, LAST_DAY)):
        if not 1 <= count <= most:
            raise UserError(f"{name}: {count} is out of range; expected 1 to {most}")
    if workers is not None and workers < 1:
        raise UserError(f"workers: {workers} is out of range; expected 1 or more")


def _draw_scans(
    orders: list[ScheduledScan], make: partial[WrittenScan], workers: int
) -> Iterator[WrittenScan]:
    if workers == 1 or len(orders) == 1:
        yield from map(make, orders)
        return
    with ProcessPoolExecutor(min(workers, len(orders)), get_context("spawn")) as pool:
        yield from pool.map(make, orders)


def _write_scan(out: Path, seed: int, order: ScheduledScan) -> WrittenScan:
    image, masks = simulate_scan(order.case, order.day, grid=order.grid, seed=seed)
    name = f"case{order.case}_day{order.day}"
    folder = writer.scan_folder(out, order.part, name)
    numbers = range(1, order.grid.shape[2] + 1)
    writer.write_slices(folder, image, numbers, pixel_mm=order.grid.pixel_mm)
    return WrittenScan(order, rle_csv.scan_rows(name, numbers, classes=CLASSES, masks=masks))
