"""`volseg submit`: the run-length codes of all scans in the competition's one file."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from volseg import console
from volseg.arguments import MaskOptions
from volseg.data.dataset import Dataset
from volseg.data.layouts.gi_tract import rle_csv
from volseg.data.layouts.gi_tract.rle_csv import RleRow
from volseg.data.mask_files import MaskReader, read_grid
from volseg.errors import UserError
from volseg.formatting import natural_key
from volseg.inference.corrections import missing_masks_problem
from volseg.inference.mask_folder import load_masks
from volseg.inference.prediction_folder import RLE, Prediction, source_slice_numbers
from volseg.system.files import refuse_foreign

Key = tuple[str, str]
"""A slice's id and a class."""
Missing = Literal["refuse", "empty"]
"""What becomes of rows without a prediction."""
UNTRIED = "has no prediction"
WAY_OUT = "--missing empty submits without masks what has none"


@dataclass(frozen=True)
class Submission:
    """The file, its rows, those of them with a mask, the scans, and warnings for the user.

    `empty` are the scans with empty rows for want of masks, and why.
    """

    path: Path
    rows: int
    masks: int
    scans: tuple[str, ...]
    warnings: tuple[str, ...]
    empty: dict[str, str]


def submit(
    predictions: Path,
    data: Path,
    *,
    sample: Path | None,
    out: Path,
    missing: Missing = "refuse",
    options: MaskOptions = MaskOptions(),
) -> Submission:
    """Write one row for each slice and class to `out`.

    The rows are those of `sample`, in its order, if it has any; else those of all test scans of the
    dataset in natural order; else, with a warning, of all predicted scans. With `missing="empty"` rows
    without a prediction have no mask. Without test scans, a sample that has only its header, or a dataset
    without scans, gives a file that has only its header.

    Raises:
        UserError: a row without a prediction, a scan that failed or has other classes, slices or
            columns than expected; all problems at once. `out` is the sample or another kind of file.
    """
    refuse_foreign(out, ",".join(rle_csv.HEADER), "submission")
    if sample and out.exists() and out.samefile(sample):
        raise UserError(f"--out {out}: is the sample; name another file")
    dataset = Dataset.load(data)
    keys = _sample_keys(sample) if sample else []
    wanted = list(dict.fromkeys(_scan_of(slice_id) for slice_id, _ in keys)) or _test_scans(dataset)
    if not wanted and (sample or not dataset.samples):
        rle_csv.write(out, [])
        return Submission(out, 0, 0, (), (_header_note(dataset, sample),), {})
    masks = load_masks(predictions, dataset)
    warnings = [*_form_notes(dataset), *masks.notes]
    predicted = {prediction.scan: prediction for prediction in masks.predictions}
    scans = wanted or sorted(predicted, key=natural_key)
    empty = _scans_without_masks(scans, predicted, dataset)
    encoded, faults = _encode_scans(
        [predicted[scan] for scan in scans if scan not in empty], dataset, options, warnings
    )
    if missing == "refuse":
        _refuse_unpredicted(empty, faults, len(scans), predictions)
    empty |= faults
    if sample and keys:
        rows, empty = _rows_of_sample(keys, encoded, empty, sample, missing)
    else:
        rows = _rows_of_scans(scans, encoded, empty, dataset)
    rle_csv.write(out, rows)
    if not wanted:
        warnings.append(f"{data} has no test part: all {len(scans)} predicted scans are used")
    if unused := {row for of_scan in encoded.values() for row in of_scan}.difference(rows):
        warnings.append(f"{sample}: has no row for {len(unused)} predicted ones")
    masked = sum(bool(row.predicted) for row in rows)
    return Submission(out, len(rows), masked, tuple(scans), tuple(warnings), empty)


def _scan_of(slice_id: str) -> str:
    return slice_id.rpartition("_slice_")[0]


def _test_scans(dataset: Dataset) -> list[str]:
    """The test scans of a dataset in natural order, with those that could not be prepared."""
    parts = {one.name: one.part for one in dataset.samples}
    parts |= {one.name: one.part for one in dataset.facts.failed}
    return sorted((name for name, part in parts.items() if part == "test"), key=natural_key)


def _form_notes(dataset: Dataset) -> list[str]:
    """A note on data that the competition does not score."""
    if dataset.facts.is_competition:
        return []
    return [f"{dataset.folder} is not of the competition's data: the file has only its form"]


def _header_note(dataset: Dataset, sample: Path | None) -> str:
    """Why there is nothing to submit."""
    told = f"{sample}: has only its header, and " if sample else ""
    return f"{told}{dataset.folder} has no test scans: an empty submission, of a header only"


def _sample_keys(path: Path) -> list[Key]:
    """The rows of a sample submission in order; none if it holds only its header."""
    keys = [(row.id, row.class_name) for row in rle_csv.read(path)]
    twice = [key for key, count in Counter(keys).items() if count > 1]
    if twice:
        raise UserError(f"{path}: {len(twice)} rows stand there twice: {_shorten_names(twice)}")
    odd = [key for key in keys if "_slice_" not in key[0]]
    if odd:
        raise UserError(f"{path}: ids without _slice_: {_shorten_names(odd)}")
    return keys


def _scans_without_masks(
    scans: Sequence[str], predicted: Mapping[str, Prediction], dataset: Dataset
) -> dict[str, str]:
    """The scans that have no masks, and why."""
    failed = {one.name: one.reason for one in dataset.facts.failed}
    reasons = {}
    for scan in scans:
        prediction = predicted.get(scan)
        if prediction is None:
            reasons[scan] = f"could not be prepared: {failed[scan]}" if scan in failed else UNTRIED
        elif prediction.status == "failed":
            reasons[scan] = f"{prediction.folder}: inference failed: {prediction.reason}"
        elif problem := missing_masks_problem(prediction):
            reasons[scan] = problem
    return reasons


def _refuse_unpredicted(
    lacking: Mapping[str, str], faults: Mapping[str, str], scans: int, predictions: Path
) -> None:
    """Raise for scans that have no masks, or masks with faults."""
    untried = [scan for scan, reason in lacking.items() if reason == UNTRIED]
    problems = [*(reason for reason in lacking.values() if reason != UNTRIED), *faults.values()]
    if untried:
        problems.append(
            f"{predictions}: {len(untried)} of {scans} scans have no prediction: "
            f"{_shorten_names(untried)}; predict them with `volseg infer`"
        )
    if problems:
        problems[-1] += f"; {WAY_OUT}"
        raise UserError.from_problems(problems)


def _shorten_names(names: Sequence[str | Key], count: int = 3) -> str:
    """The first few names."""
    shown = [name if isinstance(name, str) else " ".join(name) for name in names[:count]]
    return ", ".join(shown) + (", ..." if len(names) > count else "")


def _encode_scans(
    predictions: Sequence[Prediction], dataset: Dataset, options: MaskOptions, notes: list[str]
) -> tuple[dict[str, list[RleRow]], dict[str, str]]:
    """The rows of each scan, slice by slice, and the faults of scans without; notes on masks are added."""
    rows, faults = {}, {}
    with console.progress_bar("encoding") as report:
        for number, prediction in enumerate(predictions, start=1):
            try:
                rows[prediction.scan] = _scan_rows(prediction, dataset, options, notes)
            except UserError as error:
                faults[prediction.scan] = str(error)
            report(number, len(predictions), prediction.scan)
    return rows, faults


def _rows_of_sample(
    keys: Sequence[Key],
    encoded: Mapping[str, Sequence[RleRow]],
    reasons: Mapping[str, str],
    sample: Path,
    missing: Missing,
) -> tuple[list[RleRow], dict[str, str]]:
    """The rows of a sample in its order, and the scans with rows that have no prediction, and why."""
    table = {(row.id, row.class_name): row for rows in encoded.values() for row in rows}
    without = [key for key in keys if key not in table]
    if without and missing == "refuse":
        lacking = f"{len(without)} of {len(keys)} rows have no prediction: {_shorten_names(without)}"
        raise UserError(f"{sample}: {lacking}; {WAY_OUT}")
    rows = [table.get(key, RleRow(*key, "")) for key in keys]
    empty = {
        scan: reasons.get(scan, f"{count} rows of {sample} are of no slice and class of its masks")
        for scan, count in Counter(_scan_of(slice_id) for slice_id, _ in without).items()
    }
    return rows, empty


def _rows_of_scans(
    scans: Sequence[str], encoded: Mapping[str, Sequence[RleRow]], empty: dict[str, str], dataset: Dataset
) -> list[RleRow]:
    """The rows of all scans; of those without masks for the slices that the dataset tells."""
    slices = {one.name: one.slices for one in dataset.samples}
    slices |= {one.name: one.slices for one in dataset.facts.failed}
    rows: list[RleRow] = []
    for scan in scans:
        numbers = slices.get(scan, ())
        blank = (RleRow(rle_csv.slice_id(scan, n), name, "") for n in numbers for name in dataset.classes)
        rows += encoded.get(scan, blank)
        if scan in empty and not numbers:
            empty[scan] += "; its slices are unknown, so it has no rows"
    return rows


def _scan_rows(
    prediction: Prediction, dataset: Dataset, options: MaskOptions, notes: list[str]
) -> list[RleRow]:
    """One scan's rows: its masks encoded, which a person may have corrected; its rle.csv has the numbers."""
    sample = dataset.find_sample(prediction.identity)
    numbers = sample.slices if sample and sample.slices else source_slice_numbers(prediction)
    if not numbers:
        raise UserError(
            f"{prediction.folder}: no {RLE}, and the scan's slice numbers are not in {dataset.folder}; "
            "only scans that came from slices can be submitted"
        )
    files = [prediction.mask_file(name) for name in dataset.classes]
    grid = read_grid(dataset.grid_file(sample) if sample else files[0].path)
    if grid.voxels.shape[2] != len(numbers):
        raise UserError(f"{files[0].path}: shape {grid.voxels.shape}; expected {len(numbers)} slices")
    reader = MaskReader(grid, options)
    rows = rle_csv.scan_rows(prediction.scan, numbers, classes=dataset.classes, masks=map(reader.read, files))
    notes += reader.notes
    return rows
