"""`volseg prepare`: from raw scans to volumes on their native grid and `dataset.json`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from volseg import atomic, machine, parallel
from volseg.data.dataset import FILE, Dataset, Facts, Sample
from volseg.data.layouts import Failure, Found, GITract, Layout
from volseg.data.scan import Scan
from volseg.data.slices import AT_MOST, first
from volseg.data.volume import Array, Volume
from volseg.errors import OutputError, UserError, nearest
from volseg.schema import explain, members

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class PrepareOptions:
    """How to prepare.

    Attributes:
        layout: How the raw dataset lies on disk.
        out: Folder to write to.
        workers: Processes to use; by default as many as there are cores.
        exclude: Further scans or cases to flag as excluded from training and scoring.
        allow_gaps: Stack scans with missing slices from the slices there are.
        strict: Write nothing if any scan has a fault.
        check: Read everything, write nothing.
    """

    layout: str = "gi-tract"
    out: Path = Path("data/prepared")
    workers: int | None = None
    exclude: tuple[str, ...] = ()
    allow_gaps: bool = False
    strict: bool = False
    check: bool = False


@dataclass(frozen=True)
class Prepared:
    """What was done. With `check`, `scans` would have been prepared and nothing is written."""

    out: Path
    scans: tuple[str, ...]
    excluded: tuple[str, ...]
    failures: tuple[Failure, ...]
    notes: tuple[str, ...]


def prepare(
    source: Path,
    *,
    options: PrepareOptions = PrepareOptions(),  # noqa: B008 (frozen)
    on_scan: Progress = lambda done, total: None,  # noqa: ARG005
) -> Prepared:
    """Write every scan's volumes, then `dataset.json`; `on_scan(done, total)` is told of progress.

    A fault of one scan leaves out that scan: it is in `failures`. A `dataset.json` of an earlier run
    is removed before the first volume is written, so that it never names files of another run.

    Raises:
        UserError: a fault of the whole dataset, no scan without a fault, any fault with `strict`,
            or the output can't be written. All problems at once, one a line.
    """
    layout = _layout(options)
    found = layout.scans(source)
    excluded, notes = _excluded(found, layout, options.exclude)
    if options.check:
        found = _checked(found, layout, options, on_scan)
    ...
