"""Write a phantom dataset: slices, train.csv and a sample submission in the raw layout."""

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
from volseg.data.phantom.acquisition import CLASSES, scan
from volseg.data.phantom.schedule import LAST_CASE, LAST_DAY, Order, like_kaggle, regular
from volseg.errors import UserError
from volseg.system.hardware import cores


@dataclass(frozen=True)
class PhantomFacts:
    """What was written: labelled cases and scans, unlabelled test scans, and all slices of both."""

    cases: tuple[str, ...]
    scans: int
    test_scans: int
    slices: int
    labelled_slices: int


class Written(NamedTuple):
    """What became of an order: its rows of train.csv by slice and class (there the truth)."""

    order: Order
    rows: list[rle_csv.Row]


def write(
    out: Path,
    *,
    cases: int = 16,
    days: int = 3,
    full_size: bool = False,
    seed: int = 0,
    workers: int | None = None,
) -> PhantomFacts:
    """Write `cases` labelled cases of `days` scans each, and one unlabelled test case, to `out`.

    case123 is always among them, with a day 20. The second case changes its matrix size after
    its first day.
    The result depends on the arguments only, not on `workers` (default: all cores).

    Raises:
        UserError: `out` exists and isn't an empty folder, an argument is out of range, or the
            disk is full.
    """
    _check(out, cases, days, workers)
    orders = regular(cases, days, full_size=full_size, rng=np.random.default_rng(seed))
    return _write(out, orders, seed=seed, workers=workers)


def write_like_kaggle(out: Path, *, seed: int = 0, workers: int | None = None) -> PhantomFacts:
    """Write a dataset with the cases, days, sizes and listed bad scans of the competition's training set.

    85 cases, 274 scans and 38,496 slices of about 58 kB; all are labelled.

    Raises:
        UserError: `out` exists and isn't an empty folder, or the disk is full.
    """
    _check(out, 1, 1, workers)
    orders = like_kaggle(np.random.default_rng(seed))
    return _write(out, orders, seed=seed, workers=workers)


def _write(out: Path, orders: list[Order], *, seed: int, workers: int | None) -> PhantomFacts:
    written = []
    with console.progress("drawing") as report:
        for done in _made(orders, partial(_write_scan, out, seed), workers or cores()):
            written.append(done)
            report(len(written), len(orders))
    labelled = [row for done in written if done.order.part == "train" for row in done.rows]
    writer.write_tables(out, labelled)
    return _facts(written, labelled)


def _check(out: Path, cases: int, days: int, workers: int | None) -> None:
    writer.check_new(out)
    if not 1 <= cases < LAST_CASE:
        raise UserError(f"cases: {cases} is out of range; expected 1 to {LAST_CASE - 1}")
    if not 1 <= days <= LAST_DAY:
        raise UserError(f"days: {days} is out of range; expected 1 to {LAST_DAY}")
    if workers is not None and workers < 1:
        raise UserError(f"workers: {workers} is out of range; expected 1 or more")


def _made(orders: list[Order], make: partial[Written], workers: int) -> Iterator[Written]:
    if workers == 1 or len(orders) == 1:
        yield from map(make, orders)
        return
    with ProcessPoolExecutor(min(workers, len(orders)), get_context("spawn")) as pool:
        yield from pool.map(make, orders)


def _write_scan(out: Path, seed: int, order: Order) -> Written:
    image, masks = scan(order.case, order.day, grid=order.grid, seed=seed)
    name = f"case{order.case}_day{order.day}"
    folder = writer.scan_folder(out, order.part, name)
    numbers = range(1, order.grid.shape[2] + 1)
    writer.write_slices(folder, image, numbers, pixel_mm=order.grid.pixel_mm)
    return Written(order, rle_csv.rows(name, numbers, classes=CLASSES, masks=masks))


def _facts(written: list[Written], labelled: list[rle_csv.Row]) -> PhantomFacts:
    train = [done.order for done in written if done.order.part == "train"]
    return PhantomFacts(
        cases=tuple(dict.fromkeys(f"case{order.case}" for order in train)),
        scans=len(train),
        test_scans=len(written) - len(train),
        slices=sum(done.order.grid.shape[2] for done in written),
        labelled_slices=len({row.id for row in labelled if row.predicted}),
    )
