"""Write a phantom dataset: slices, train.csv and a sample submission in the raw layout."""

import csv
import io
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from volseg.atomic import replacing, write_text
from volseg.data.phantom.grids import FULL, SMALL, Grid
from volseg.data.phantom.scans import CLASSES, scan
from volseg.errors import UserError
from volseg.machine import cores
from volseg.masks import submission

CASE, DAY = 123, 20  # always there: the documentation speaks of case123_day20
CHANGING = 1  # the rank of the case that changes its matrix size after its first day
LAST_CASE, LAST_DAY = 156, 38  # the real set's highest numbers are about these

# The grids of the first case, the second and so on, round and round. Full size: two thirds square,
# a quarter wide, a few shallow, as in the real set.
_SMALL_MIX = tuple(SMALL[kind] for kind in (0, 1, 0))
_FULL_MIX = tuple(FULL[kind] for kind in (0, 1, 0, 0, 1, 0, 0, 2, 0, 0, 1, 0))


@dataclass(frozen=True)
class PhantomFacts:
    """What was written: labelled cases and scans, unlabelled test scans, and all slices of both."""

    cases: tuple[str, ...]
    scans: int
    test_scans: int
    slices: int
    labelled_slices: int


class Order(NamedTuple):
    """One scan to make."""

    case: int
    day: int
    part: str
    grid: Grid


class Written(NamedTuple):
    """What became of an order: its rows of train.csv by slice and class (there the truth)."""

    order: Order
    rows: list[submission.Row]


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
    mix = _FULL_MIX if full_size else _SMALL_MIX
    orders = _orders(cases, days, mix, np.random.default_rng(seed))
    written = _make(orders, partial(_write_scan, out, seed), workers or cores())
    labelled = [row for done in written if done.order.part == "train" for row in done.rows]
    write_text(out / "train.csv", _table(("id", "class", "segmentation"), labelled))
    write_text(out / "sample_submission.csv", _table(("id", "class", "predicted"), []))
    return _facts(written, labelled)


def _check(out: Path, cases: int, days: int, workers: int | None) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: exists and isn't an empty folder; name a new one")
    if not 1 <= cases < LAST_CASE:
        raise UserError(f"cases: {cases} is out of range; expected 1 to {LAST_CASE - 1}")
    if not 1 <= days <= LAST_DAY:
        raise UserError(f"days: {days} is out of range; expected 1 to {LAST_DAY}")
    if workers is not None and workers < 1:
        raise UserError(f"workers: {workers} is out of range; expected 1 or more")


def _orders(cases: int, days: int, mix: tuple[Grid, ...], rng: np.random.Generator) -> list[Order]:
    """Draw numbers of cases and days; the last number drawn is the test case's, with one day."""
    others = [number for number in range(1, LAST_CASE + 1) if number != CASE]
    *train, test = rng.choice(others, cases, replace=False).tolist()
    orders = [Order(test, int(rng.integers(LAST_DAY)), "test", mix[0])]
    for rank, case in enumerate(sorted([CASE, *train])):
        numbers = sorted(rng.choice(LAST_DAY + 1, days, replace=False).tolist())
        if case == CASE and DAY not in numbers:
            numbers[int(np.abs(np.array(numbers) - DAY).argmin())] = DAY
        grids = [mix[rank % len(mix)]] * days
        if rank == CHANGING:
            grids[0] = mix[0]
        orders += [
            Order(case, day, "train", grid) for day, grid in zip(numbers, grids, strict=True)
        ]
    return orders


def _make(orders: list[Order], make: partial[Written], workers: int) -> list[Written]:
    if workers == 1 or len(orders) == 1:
        return [make(order) for order in orders]
    with ProcessPoolExecutor(min(workers, len(orders)), get_context("spawn")) as pool:
        return list(pool.map(make, orders))


def _write_scan(out: Path, seed: int, order: Order) -> Written:
    image, masks = scan(order.case, order.day, grid=order.grid, seed=seed)
    name = f"case{order.case}_day{order.day}"
    folder = out / order.part / f"case{order.case}" / name / "scans"
    (columns, rows, slices), (width, height) = order.grid.shape, order.grid.pixel_mm
    numbers = range(1, slices + 1)
    for number in numbers:
        size = f"{columns}_{rows}_{width:.2f}_{height:.2f}"
        _write_png(folder / f"slice_{number:04d}_{size}.png", image[:, :, number - 1].T)
    return Written(order, submission.rows(name, numbers, classes=CLASSES, masks=masks))


def _write_png(path: Path, pixels: npt.NDArray[np.uint16]) -> None:
    """A 16-bit grey PNG of (HEIGHT, WIDTH) pixels."""
    done, coded = cv2.imencode(".png", np.ascontiguousarray(pixels))
    if not done:
        raise ValueError(f"{path}: OpenCV can't encode {pixels.shape} {pixels.dtype}")
    with replacing(path) as temporary:
        temporary.write_bytes(coded.tobytes())


def _table(header: tuple[str, str, str], rows: list[submission.Row]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()


def _facts(written: list[Written], labelled: list[submission.Row]) -> PhantomFacts:
    train = [done.order for done in written if done.order.part == "train"]
    return PhantomFacts(
        cases=tuple(dict.fromkeys(f"case{order.case}" for order in train)),
        scans=len(train),
        test_scans=len(written) - len(train),
        slices=sum(done.order.grid.shape[2] for done in written),
        labelled_slices=len({row.id for row in labelled if row.predicted}),
    )
