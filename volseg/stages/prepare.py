"""`volseg prepare`: from raw scans to volumes on their native grid and `dataset.json`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from volseg import machine, parallel
from volseg.data import writer
from volseg.data.dataset import Dataset, Facts, Sample
from volseg.data.layouts import Failure, Found, GITract, Layout
from volseg.data.scan import Scan
from volseg.data.slices import first
from volseg.errors import UserError, nearest
from volseg.schema import explain, members

SCANS_A_START = 8  # a worker starts in the time that this many scans take

Progress = Callable[[int, int], None]
Outcome = Sample | Failure | None


@dataclass(frozen=True)
class PrepareOptions:
    """How to prepare.

    Attributes:
        layout: How the raw dataset lies on disk.
        out: Folder to write to.
        workers: Processes to use; by default at most as many as there are cores.
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
    options: PrepareOptions = PrepareOptions(),
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
    if options.check or options.strict:
        task = partial(writer.check, classes=layout.classes)
        found = _without(found, _outcomes(task, found.scans, options=options, on_scan=on_scan))
    _refuse(found, strict=options.strict)
    if not options.check:
        write = partial(writer.write, classes=layout.classes, out=options.out, excluded=excluded)
        with writer.tidy(options.out):
            outcomes = _outcomes(write, found.scans, options=options, on_scan=on_scan)
        found = _without(found, outcomes)
        _refuse(found, strict=options.strict)
        _save(source, layout, outcomes, out=options.out)
    names = tuple(scan.name for scan in found.scans)
    return Prepared(
        out=options.out,
        scans=names,
        excluded=tuple(name for name in names if name in excluded),
        failures=found.failures,
        notes=(*found.notes, *notes),
    )


def _layout(options: PrepareOptions) -> GITract:
    """The layout by name, with the settings that were given.

    Raises:
        UserError: an unknown name, or settings that this layout does not have.
    """
    known = members(Layout)
    if options.layout not in known:
        near = nearest(options.layout, known)
        raise UserError(
            f"--layout {options.layout}: no such layout{near}; known: {', '.join(known)}"
        )
    settings = {"allow_gaps": True} if options.allow_gaps else {}
    kind = known[options.layout]
    try:
        layout: GITract = TypeAdapter(Layout).validate_python({"name": options.layout, **settings})
    except ValidationError as error:
        lines = explain(error, kind)
        raise UserError.of(f"--layout {options.layout}: {line}" for line in lines) from error
    return layout


def _excluded(
    found: Found, layout: GITract, wanted: Sequence[str]
) -> tuple[frozenset[str], tuple[str, ...]]:
    """The names to flag: the author's bad scans and the user's own; and remarks.

    Raises:
        UserError: names of the user that match no scan and no case.
    """
    names = {scan.name: scan.case for scan in found.scans}
    names |= {failure.name: failure.name.partition("_day")[0] for failure in found.failures}
    known = dict.fromkeys([*names.values(), *names])
    unknown = [
        f"--exclude {name}: no such case or scan{nearest(name, known)}"
        for name in wanted
        if name not in known
    ]
    if unknown:
        raise UserError.of(unknown)
    absent = [name for name in layout.bad_scans if name not in names]
    listed = ", ".join(absent)
    note = f"not in this dataset, of the scans that its author excludes: {listed}"
    own = {name for name, case in names.items() if not {name, case}.isdisjoint(wanted)}
    return frozenset(own.union(layout.bad_scans)), (note,) if absent else ()


def _refuse(found: Found, *, strict: bool) -> None:
    """Stop at faults of the whole dataset, and where no scan (with `strict`: not every one) is good.

    Raises:
        UserError: all that is wrong, of the scans the first ten.
    """
    if found.problems or not found.scans or (strict and found.failures):
        reasons = [failure.reason for failure in found.failures]
        raise UserError.of([*found.problems, *first(reasons, "scans with faults")])


def _without(found: Found, outcomes: Sequence[Outcome]) -> Found:
    """What was found, with the scans that turned out to be faulty among the failures."""
    failed = tuple(outcome for outcome in outcomes if isinstance(outcome, Failure))
    names = {failure.name for failure in failed}
    return replace(
        found,
        scans=tuple(scan for scan in found.scans if scan.name not in names),
        failures=found.failures + failed,
    )


def _outcomes(
    task: Callable[[Scan], Outcome],
    scans: Sequence[Scan],
    *,
    options: PrepareOptions,
    on_scan: Progress,
) -> list[Outcome]:
    """The outcome of a task for each scan, in their order, worked out in parallel."""
    workers = options.workers
    if workers is None:
        workers = min(machine.cores(), 1 + len(scans) // SCANS_A_START)
    if workers < 1:
        raise UserError(f"--workers {workers}: expected 1 or more")
    outcomes: dict[int, Outcome] = {}
    for position, outcome in parallel.each(task, scans, workers=workers, died=writer.died):
        outcomes[position] = outcome
        on_scan(len(outcomes), len(scans))
    return [outcomes[position] for position in range(len(scans))]


def _save(source: Path, layout: GITract, outcomes: Sequence[Outcome], *, out: Path) -> None:
    facts = Facts(
        name=source.resolve().name,
        layout=layout.name,
        classes=layout.classes,
        exclusive=layout.exclusive,
        channels=layout.channels,
        samples=tuple(outcome for outcome in outcomes if isinstance(outcome, Sample)),
    )
    Dataset(out, facts).save()
