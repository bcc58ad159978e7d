"""`volseg prepare`: from raw scans to volumes on their native grid and `dataset.json`."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from volseg.arguments import PrepareArguments
from volseg.data.dataset import FILE, Dataset, DatasetInfo
from volseg.data.layouts import GITract, Layout, Nifti, RawDataset
from volseg.data.layouts.findings import (
    SEVERITIES,
    Finding,
    ScanFailure,
    dataset_faults,
    note_finding,
    scan_failures,
)
from volseg.data.layouts.raw_dataset import RawScan
from volseg.data.splits import case_of
from volseg.errors import UserError, nearest_hint
from volseg.formatting import first_few, natural_key
from volseg.preparation import checks, records, scan_writer
from volseg.preparation.scan_writer import ScanOutcome, WritePlan
from volseg.schema import explain_errors, union_members
from volseg.system import hardware, processes


@dataclass(frozen=True)
class PreparationResult:
    """What was done. With `check`, `scans` would have been prepared and nothing is written.

    `unchanged` scans were there already; `removed` ones were, but are not in the source any more.
    """

    out: Path
    scans: tuple[str, ...]
    excluded: tuple[str, ...]
    findings: tuple[Finding, ...]
    unchanged: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    @property
    def failures(self) -> tuple[ScanFailure, ...]:
        """The scans that can't be used, and why."""
        return scan_failures(self.findings)

    @property
    def problems(self) -> tuple[str, ...]:
        """The faults of the whole dataset."""
        return dataset_faults(self.findings)

    @property
    def notes(self) -> tuple[str, ...]:
        """The remarks."""
        return tuple(one.message for one in self.findings if one.severity == "note")


SCANS_A_START = 8  # a worker starts in the time that this many scans take

Progress = Callable[[int, int], None]


def prepare(
    source: Path,
    *,
    options: PrepareArguments = PrepareArguments(),
    on_scan: Progress = lambda done, total: None,  # noqa: ARG005
) -> PreparationResult:
    """Write every scan's volumes, then `dataset.json`; `on_scan(done, total)` is told of progress.

    A fault of one scan leaves out that scan: it is in `failures`. A scan that was prepared before from
    the same files with the same settings is not done again. A `dataset.json` of an earlier run is
    removed before the first volume changes, so that it never names files of another run.

    With `check` everything is read and judged, nothing is written, and faults of the whole are findings.

    Raises:
        UserError: a fault of the whole dataset, no scan without a fault, any fault with `strict`,
            or the output can't be written. All problems at once, one a line.
    """
    layout = _build_layout(options)
    if not source.as_posix().isprintable():
        raise UserError(f"{str(source)!a}: its name is no plain text; rename the folder")
    found = layout.scans(source)
    plan = WritePlan(options.out, found.classes, found.exclusive)
    excluded, notes = _excluded_scans(found, options.exclude)
    found = replace(found, findings=(*found.findings, *notes))
    if options.check or options.strict:
        task = partial(scan_writer.check, plan=plan)
        outcomes = _run_on_scans(task, found.scans, options=options, on_scan=on_scan)
        if options.check:
            return _preparation_result(found, outcomes, excluded, out=options.out)
        _raise_on_faults(
            _preparation_result(found, outcomes, excluded, out=options.out), strict=options.strict
        )
    problems = dataset_faults(found.findings)
    if problems or not found.scans:
        raise UserError.from_problems([*problems, *_failure_lines(scan_failures(found.findings))])
    sources = {path.parent for scan in found.scans for path in scan.files}
    with records.lock_dataset(options.out, sources):
        outcomes = _write_scans(found.scans, plan, options=options, on_scan=on_scan)
        done = _preparation_result(found, outcomes, excluded, out=options.out)
        _raise_on_faults(done, strict=options.strict)
        gone = records.unlisted_scans(options.out, done.scans)
        for name in gone:
            records.remove_scan(options.out, name)
        _save_dataset(source, layout, found, outcomes, excluded=excluded, out=options.out)
    failed = {failure.name for failure in done.failures}
    return replace(done, removed=tuple(name for name in gone if name not in failed))


def _build_layout(options: PrepareArguments) -> GITract | Nifti:
    """The layout by name, with the settings that were given.

    Raises:
        UserError: an unknown name, or settings that this layout does not have.
    """
    known = union_members(Layout)
    if options.layout not in known:
        near = nearest_hint(options.layout, known)
        raise UserError(f"--layout {options.layout}: no such layout{near}; known: {', '.join(known)}")
    kind = known[options.layout]
    settings = {"name": options.layout, **options.layout_settings()}
    try:
        layout: GITract | Nifti = TypeAdapter(Layout).validate_python(settings)
    except ValidationError as error:
        lines = explain_errors(error, kind)
        raise UserError.from_problems(f"--layout {options.layout}: {line}" for line in lines) from error
    return layout


def _excluded_scans(found: RawDataset, wanted: Sequence[str]) -> tuple[frozenset[str], list[Finding]]:
    """The names to flag: the author's bad scans and the user's own; and remarks on both.

    Raises:
        UserError: names of the user that match no scan and no case.
    """
    names = {scan.name: scan.case for scan in found.scans}
    failed = [failure.name for failure in scan_failures(found.findings)]
    names |= {name: case_of(name) for name in failed}
    known = dict.fromkeys([*names.values(), *names])
    unknown = [
        f"--exclude {name}: no such case or scan{nearest_hint(name, known)}"
        for name in wanted
        if name not in known
    ]
    if unknown:
        raise UserError.from_problems(unknown)
    own = {name for name, case in names.items() if not {name, case}.isdisjoint(wanted)}
    flagged = own.union(name for name in found.bad_scans if name in names)
    notes = [
        note_finding(
            "left out of training and scoring: "
            + ("as asked" if name in own else "on its author's list of bad labels"),
            kind="excluded",
            scan=name,
        )
        for name in sorted(flagged, key=natural_key)
    ]
    absent = [name for name in found.bad_scans if name not in names]
    if absent:
        told = f"not in this dataset, of the scans that its author excludes: {', '.join(absent)}"
        notes.append(note_finding(told, kind="excluded"))
    return frozenset(flagged), notes


def _raise_on_faults(done: PreparationResult, *, strict: bool) -> None:
    """Stop at faults of the whole dataset, and where no scan (with `strict`: not every one) is good.

    Raises:
        UserError: all that is wrong, of the scans the first ten.
    """
    if done.problems or not done.scans or (strict and done.failures):
        raise UserError.from_problems([*done.problems, *_failure_lines(done.failures)])


def _failure_lines(failed: Sequence[ScanFailure]) -> Iterator[str]:
    return first_few([failure.reason for failure in failed], "scans with faults")


def _preparation_result(
    found: RawDataset, outcomes: Sequence[ScanOutcome], excluded: frozenset[str], *, out: Path
) -> PreparationResult:
    """What came of all scans, judged each by itself and beside the others."""
    good = [outcome.record for outcome in outcomes if outcome.record]
    seen = {one.sample.name: (one.sample, one.fingerprint) for one in good}
    own = (finding for outcome in outcomes for finding in outcome.findings)
    names = tuple(seen)
    return PreparationResult(
        out=out,
        scans=names,
        excluded=tuple(name for name in names if name in excluded),
        findings=tuple(_sort_findings([*found.findings, *own, *checks.dataset_findings(seen)])),
        unchanged=tuple(outcome.name for outcome in outcomes if outcome.unchanged),
    )


def _sort_findings(findings: Iterable[Finding]) -> list[Finding]:
    """Of the whole first, then by scan; in each the errors before warnings and notes."""

    def place(one: Finding) -> tuple[object, ...]:
        return bool(one.scan), natural_key(one.scan), SEVERITIES.index(one.severity)

    return sorted(findings, key=place)


def _write_scans(
    scans: Sequence[RawScan], plan: WritePlan, *, options: PrepareArguments, on_scan: Progress
) -> list[ScanOutcome]:
    """The outcome of writing each scan, in their order; those that are written already stay."""
    kept = {scan.name: one for scan in scans if (one := scan_writer.unchanged_outcome(scan, plan=plan))}
    new = [scan for scan in scans if scan.name not in kept]
    on_scan(len(kept), len(scans))

    def report(done: int, _total: int) -> None:
        on_scan(len(kept) + done, len(scans))

    task = partial(scan_writer.write, plan=plan)
    written = _run_on_scans(task, new, options=options, on_scan=report)
    outcomes = kept | {one.name: one for one in written}
    return [outcomes[scan.name] for scan in scans]


def _run_on_scans(
    task: Callable[[RawScan], ScanOutcome],
    scans: Sequence[RawScan],
    *,
    options: PrepareArguments,
    on_scan: Progress,
) -> list[ScanOutcome]:
    """The outcome of a task for each scan, in their order, worked out in parallel."""
    workers = options.workers
    if workers is None:
        workers = min(hardware.available_cores(), 1 + len(scans) // SCANS_A_START)
    if workers < 1:
        raise UserError(f"--workers {workers}: expected 1 or more")
    outcomes: dict[int, ScanOutcome] = {}
    with closing(
        processes.map_unordered(task, scans, workers=workers, died=scan_writer.killed_outcome)
    ) as work:
        for position, outcome in work:
            outcomes[position] = outcome
            on_scan(len(outcomes), len(scans))
    return [outcomes[position] for position in range(len(scans))]


def _save_dataset(
    source: Path,
    layout: GITract | Nifti,
    found: RawDataset,
    outcomes: Sequence[ScanOutcome],
    *,
    excluded: frozenset[str],
    out: Path,
) -> None:
    """Write `dataset.json`, unless it says the same already."""
    samples = [outcome.record.sample for outcome in outcomes if outcome.record]
    facts = DatasetInfo(
        name=source.resolve().name.removesuffix(".json"),
        layout=layout.name,
        classes=found.classes,
        exclusive=found.exclusive,
        channels=found.channels,
        samples=tuple(one.model_copy(update={"excluded": one.name in excluded}) for one in samples),
    )
    dataset = Dataset(out, facts)
    path = out / FILE
    if not path.is_file() or path.read_text(encoding="utf-8") != dataset.to_json():
        dataset.save()
