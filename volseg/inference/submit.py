"""`volseg submit`: the run-length codes of all scans in the competition's one file."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True)
class Submission:
    """The file, its rows, those of them with a mask, the scans, and warnings for the user."""

    path: Path
    rows: int
    masks: int
    scans: tuple[str, ...]
    warnings: tuple[str, ...]


def submit(
    predictions: Path, data: Path, *, sample: Path | None, out: Path, options: MaskOptions = MaskOptions()
) -> Submission:
    """Write one row for each slice and class to `out`.

    The rows are those of `sample`, in its order, if it has any; else those of all test scans of the
    dataset in natural order; else, with a warning, of all predicted scans.

    Raises:
        UserError: a row without a prediction, a scan that failed or has other classes, slices or
            columns than expected; all problems at once. `out` is the sample or another kind of file.
    """
    refuse_foreign(out, ",".join(rle_csv.HEADER), "submission")
    if sample and out.exists() and out.samefile(sample):
        raise UserError(f"--out {out}: is the sample; name another file")
    dataset = Dataset.load(data)
    masks = load_masks(predictions, dataset)
    predicted = {prediction.scan: prediction for prediction in masks.predictions}
    keys = _sample_keys(sample) if sample else []
    test_scans = sorted((s.name for s in dataset.samples if s.part == "test"), key=natural_key)
    sample_scans = list(dict.fromkeys(slice_id.rpartition("_slice_")[0] for slice_id, _ in keys))
    scans = sample_scans or test_scans or sorted(predicted, key=natural_key)
    _refuse_unpredicted(scans, predicted, predictions)
    warnings = list(masks.notes)
    all_rows = _submission_rows([predicted[scan] for scan in scans], dataset, options, warnings)
    table = {(row.id, row.class_name): row for row in all_rows}
    missing = [key for key in keys if key not in table]
    if missing:
        raise UserError(
            f"{sample}: {len(missing)} of {len(keys)} rows have no prediction: {_shorten_names(missing)}"
        )
    rows = [table[key] for key in keys or table]
    rle_csv.write(out, rows)
    if not keys and not test_scans:
        warnings.append(f"{data} has no test part: all {len(scans)} predicted scans are used")
    if len(rows) < len(table):
        warnings.append(f"{sample}: has no row for {len(table) - len(rows)} predicted ones")
    encoded = sum(bool(row.predicted) for row in rows)
    return Submission(out, len(rows), encoded, tuple(scans), tuple(warnings))


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


def _refuse_unpredicted(scans: Sequence[str], predicted: dict[str, Prediction], predictions: Path) -> None:
    """Raise for scans that have no masks."""
    missing = [scan for scan in scans if scan not in predicted]
    problems = []
    for prediction in (predicted[scan] for scan in scans if scan in predicted):
        if prediction.status == "failed":
            problems.append(f"{prediction.folder}: inference failed: {prediction.reason}")
        elif problem := missing_masks_problem(prediction):
            problems.append(problem)
    if missing:
        problems.append(
            f"{predictions}: {len(missing)} of {len(scans)} scans have no prediction: "
            f"{_shorten_names(missing)}; predict them with `volseg infer`"
        )
    if problems:
        raise UserError.from_problems(problems)


def _shorten_names(names: Sequence[str | Key], count: int = 3) -> str:
    """The first few names."""
    shown = [name if isinstance(name, str) else " ".join(name) for name in names[:count]]
    return ", ".join(shown) + (", ..." if len(names) > count else "")


def _submission_rows(
    predictions: Sequence[Prediction], dataset: Dataset, options: MaskOptions, notes: list[str]
) -> Iterator[RleRow]:
    """The rows of all scans, slice by slice, classes in the dataset's order; notes on masks are added."""
    problems = []
    with console.progress_bar("encoding") as report:
        for number, prediction in enumerate(predictions, start=1):
            try:
                yield from _scan_rows(prediction, dataset, options, notes)
            except UserError as error:
                problems.append(str(error))
            report(number, len(predictions), prediction.scan)
    if problems:
        raise UserError.from_problems(problems)


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
