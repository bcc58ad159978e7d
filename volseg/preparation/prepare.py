"""`volseg prepare`: from raw scans to volumes on their native grid and `dataset.json`."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from volseg.arguments import CohortArguments, PrepareArguments
from volseg.cohort.run import run
from volseg.data.dataset import FILE, Dataset, DatasetInfo, FailedScan
from volseg.data.layouts import Dicom, GITract, Layout, Nifti, RawDataset
from volseg.data.layouts.findings import (
    SEVERITIES,
    Finding,
    ScanFailure,
    dataset_faults,
    note_finding,
    scan_failures,
)
from volseg.data.layouts.raw_dataset import RawScan, UnusableScan
from volseg.errors import UserError, nearest_hint
from volseg.formatting import first_few, natural_key
from volseg.preparation import checks, records, scan_writer
from volseg.preparation.prepare_work import PrepareWork
from volseg.preparation.scan_writer import ScanOutcome, WritePlan
from volseg.schema import build_component
from volseg.system import hardware
from volseg.system.files import private_files


@dataclass(frozen=True)
class PreparationResult:
    """The prepared scans and all findings; with `check` nothing is written.

    `unchanged` scans were prepared before; `removed` ones are not in the source any more.
    """

    out: Path
    scans: tuple[str, ...]
    excluded: tuple[str, ...]
    findings: tuple[Finding, ...]
    unchanged: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    @property
    def failures(self) -> tuple[ScanFailure, ...]:
        """The scans with errors."""
        return scan_failures(self.findings)

    @property
    def problems(self) -> tuple[str, ...]:
        """The errors of the dataset as a whole."""
        return dataset_faults(self.findings)

    @property
    def is_unusable(self) -> bool:
        """Whether the whole dataset has an error, or no scan is without one."""
        return bool(self.problems or (self.failures and not self.scans))

    @property
    def notes(self) -> tuple[str, ...]:
        """The messages of all notes."""
        return tuple(finding.message for finding in self.findings if finding.severity == "note")


SCANS_A_START = 8  # a worker starts in the time that this many scans take

Progress = Callable[[int, int], None]


def prepare(
    source: Path,
    *,
    options: PrepareArguments = PrepareArguments(),
    cohort: CohortArguments = CohortArguments(),
    on_scan: Progress = lambda done, total: None,  # noqa: ARG005
) -> PreparationResult:
    """Write every scan's volumes, then `dataset.json`; `on_scan(done, total)` reports progress.

    A scan with an error is left out and in `failures`. A scan that was prepared before from the same files
    with the same settings is left as it is. A `dataset.json` of an earlier run is removed before the first
    volume changes, so that it never names files of another run.

    With `check` all scans are read, nothing is written, and errors of the whole dataset are findings.

    Raises:
        UserError: an error of the whole dataset, no scan without an error, any error with `strict`,
            or the output can't be written. All problems at once, one a line.
    """
    settings = {"name": options.layout, **options.layout_settings()}
    layout: Dicom | GITract | Nifti = build_component(Layout, settings, "--layout")
    if not source.as_posix().isprintable():
        raise UserError(f"{str(source)!a}: its name is no plain text; rename the folder")
    raw = layout.scans(source)
    plan = WritePlan(options.out, raw.classes, raw.exclusive)
    excluded, notes = _excluded_scans(raw, options.exclude)
    raw = replace(raw, findings=(*raw.findings, *notes))
    if options.check or options.strict:
        work = _work(raw.scans, plan, options, check=True)
        outcomes = _run_on_scans(work, raw.scans, cohort=cohort, on_scan=on_scan)
        result = _preparation_result(raw, outcomes, excluded, out=options.out)
        if options.check:
            return result
        _raise_on_faults(result, strict=options.strict)
    problems = dataset_faults(raw.findings)
    failures = scan_failures(raw.findings)
    if problems or (failures and not raw.scans):
        raise UserError.from_problems([*problems, *_failure_lines(failures)])
    private = any(scan.is_private for scan in raw.scans)
    sources = {path.parent for scan in raw.scans for path in scan.files}
    with private_files() if private else nullcontext(), records.lock_dataset(options.out, sources):
        outcomes = _write_scans(raw.scans, plan, options=options, cohort=cohort, on_scan=on_scan)
        result = _preparation_result(raw, outcomes, excluded, out=options.out)
        _raise_on_faults(result, strict=options.strict)
        removed = records.unlisted_scans(options.out, result.scans)
        for name in removed:
            records.remove_scan(options.out, name)
        name = raw.name or source.resolve().name.removesuffix(".json")
        _save_dataset(result, raw, outcomes, name=name, layout=layout.name)
    failed = {failure.name for failure in result.failures}
    return replace(result, removed=tuple(name for name in removed if name not in failed))


def _excluded_scans(raw: RawDataset, names: Sequence[str]) -> tuple[frozenset[str], list[Finding]]:
    """The scans to flag, by the dataset's author or by these names of scans or cases; and notes on both.

    Raises:
        UserError: names that match no scan and no case.
    """
    cases = {scan.name: scan.case for scan in raw.scans}
    cases |= {name: one.case for name, one in raw.unusable.items()}
    known = dict.fromkeys([*cases.values(), *cases])
    unknown = [name for name in names if name not in known]
    if unknown:
        hints = ((name, nearest_hint(name, known)) for name in unknown)
        raise UserError.from_problems(f"--exclude {name}: no such case or scan{hint}" for name, hint in hints)
    asked = {name for name, case in cases.items() if not {name, case}.isdisjoint(names)}
    notes = []
    for name in sorted(asked.union(raw.bad_scans).intersection(cases), key=natural_key):
        reason = "as asked" if name in asked else "on its author's list of bad labels"
        text = f"left out of training and scoring: {reason}"
        notes.append(note_finding(text, kind="excluded", scan=name))
    excluded = frozenset(note.scan for note in notes)
    absent = [name for name in raw.bad_scans if name not in cases]
    if len(absent) < len(raw.bad_scans):  # without any of them these may be other data of the same form
        text = f"not in this dataset, of the scans that its author excludes: {', '.join(absent)}"
        notes.append(note_finding(text, kind="excluded"))
    return excluded, notes


def _raise_on_faults(result: PreparationResult, *, strict: bool) -> None:
    """Stop at errors of the whole dataset, and if no scan is without one, or with `strict` if any has one."""
    if result.is_unusable or (strict and result.failures):
        raise UserError.from_problems([*result.problems, *_failure_lines(result.failures)])


def _failure_lines(failed: Sequence[ScanFailure]) -> Iterator[str]:
    return first_few([failure.reason for failure in failed], "scans with faults")


def _preparation_result(
    raw: RawDataset, outcomes: Sequence[ScanOutcome], excluded: frozenset[str], *, out: Path
) -> PreparationResult:
    """The result of all scans, with the findings on each and on each beside the others."""
    good = [outcome.record for outcome in outcomes if outcome.record]
    fingerprints = {record.sample.name: (record.sample, record.fingerprint) for record in good}
    own = (finding for outcome in outcomes for finding in outcome.findings)
    findings = [*raw.findings, *own, *checks.dataset_findings(fingerprints)]
    return PreparationResult(
        out=out,
        scans=tuple(fingerprints),
        excluded=tuple(name for name in fingerprints if name in excluded),
        findings=tuple(sorted(findings, key=_finding_order)),
        unchanged=tuple(outcome.name for outcome in outcomes if outcome.unchanged),
    )


def _finding_order(finding: Finding) -> tuple[object, ...]:
    """A sort key: the dataset first, then by scan; errors before warnings and notes."""
    return bool(finding.scan), natural_key(finding.scan), SEVERITIES.index(finding.severity)


def _write_scans(
    scans: Sequence[RawScan],
    plan: WritePlan,
    *,
    options: PrepareArguments,
    cohort: CohortArguments,
    on_scan: Progress,
) -> list[ScanOutcome]:
    """The outcomes of writing scans, in order; scans that are written already stay."""
    old = [outcome for scan in scans if (outcome := scan_writer.unchanged_outcome(scan, plan=plan))]
    outcomes = {outcome.name: outcome for outcome in old}
    new = [scan for scan in scans if scan.name not in outcomes]
    on_scan(len(old), len(scans))

    def report(done: int, _total: int) -> None:
        on_scan(len(old) + done, len(scans))

    written = _run_on_scans(_work(new, plan, options), new, cohort=cohort, on_scan=report)
    outcomes |= {outcome.name: outcome for outcome in written}
    return [outcomes[scan.name] for scan in scans]


def _work(
    scans: Sequence[RawScan], plan: WritePlan, options: PrepareArguments, *, check: bool = False
) -> PrepareWork:
    """What is to be done to scans."""
    workers = options.workers
    if workers is None:
        workers = min(hardware.available_cores(), 1 + len(scans) // SCANS_A_START)
    if workers < 1:
        raise UserError(f"--workers {workers}: expected 1 or more")
    sources = {path.parent.resolve() for scan in scans for path in scan.files[:1]}
    out = () if check else (plan.out.resolve(),)
    return PrepareWork(plan, workers, check, folders=(*out, *sorted(sources)))


def _run_on_scans(
    work: PrepareWork, scans: Sequence[RawScan], *, cohort: CohortArguments, on_scan: Progress
) -> list[ScanOutcome]:
    """The outcomes of work on scans, in order."""
    outcomes: dict[int, ScanOutcome] = {}
    with closing(run(work, scans, cohort, shown=False)) as results:
        for position, outcome in results:
            outcomes[position] = outcome
            on_scan(len(outcomes), len(scans))
    return [outcomes[position] for position in range(len(scans))]


def _save_dataset(
    result: PreparationResult, raw: RawDataset, outcomes: Sequence[ScanOutcome], *, name: str, layout: str
) -> None:
    """Write `dataset.json`, unless its text is the same already."""
    samples = (outcome.record.sample for outcome in outcomes if outcome.record)
    facts = DatasetInfo(
        name=name,
        layout=layout,
        classes=raw.classes,
        exclusive=raw.exclusive,
        channels=raw.channels,
        samples=tuple(one.model_copy(update={"excluded": one.name in result.excluded}) for one in samples),
        failed=tuple(_failed_scans(result, raw)),
        synthetic=raw.synthetic,
    )
    dataset = Dataset(result.out, facts)
    path = result.out / FILE
    if not path.is_file() or path.read_text(encoding="utf-8") != dataset.to_json():
        dataset.save()


def _failed_scans(result: PreparationResult, raw: RawDataset) -> Iterator[FailedScan]:
    """The scans with errors, with their part and slices."""
    known = {scan.name: UnusableScan(scan.case, scan.part, scan.numbers) for scan in raw.scans}
    known |= raw.unusable
    for name, reason in result.failures:
        scan = known[name]
        yield FailedScan(name=name, part=scan.part, reason=reason, slices=scan.numbers)
