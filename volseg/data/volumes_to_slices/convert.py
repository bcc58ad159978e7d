"""A dataset of volumes written in the raw layout."""

import csv
import io
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from volseg.data.layouts import GITract, RawDataset
from volseg.data.layouts.gi_tract import annotations, writer
from volseg.data.layouts.raw_dataset import Part
from volseg.data.volumes_to_slices import sources
from volseg.data.volumes_to_slices.scan_names import raw_names
from volseg.data.volumes_to_slices.session import SlicedScan, SlicingOptions, SlicingSession
from volseg.errors import UserError
from volseg.system.files import write_text

MAPPING = "mapping.csv"
COLUMNS = ("scan", "name", "case", "day", "source", "channel", "scale", "offset")

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ConversionResult:
    """What was written, what was lost by it, and the words of the command that reads it."""

    scans: int
    labelled: int
    slices: int
    warnings: tuple[str, ...]
    command: tuple[str, ...]


def convert_dataset(
    dataset: Path,
    out: Path,
    *,
    options: SlicingOptions = SlicingOptions(),
    on_scan: Progress = lambda done, total: None,  # noqa: ARG005
) -> ConversionResult:
    """Write slices, `mapping.csv` and the tables; `on_scan(done, total)` is told of progress.

    All scans are looked at, also after a fault; but then nothing is left in `out`.

    Raises:
        UserError: `out` isn't new or empty, faults of the dataset or of its scans (all of them), scans
            of several distances of slices, or the disk is full.
    """
    writer.check_new(out)
    found = sources.find_raw_dataset(dataset)
    _check_channel(dataset, found, options)
    faults = [one.message for one in found.findings if one.severity == "error"]
    book = SlicingSession(out, found, raw_names(found.scans), options, faults)
    with _rollback_on_failure(out):
        for position, scan in enumerate(found.scans, start=1):
            book.add_scan(scan)
            on_scan(position, len(found.scans))
        book.check_faults()
        write_text(out / MAPPING, _mapping_csv(book.entries))
        writer.write_tables(out, (row for entry in book.entries for row in entry.rows))
    return ConversionResult(
        scans=len(book.entries),
        labelled=sum(bool(entry.rows) for entry in book.entries),
        slices=sum(len(entry.numbers) for entry in book.entries),
        warnings=(*_dataset_warnings(dataset, book), *(told for one in book.entries for told in one.losses)),
        command=("volseg", "prepare", str(out), *_reading_arguments(book)),
    )


def _check_channel(dataset: Path, found: RawDataset, options: SlicingOptions) -> None:
    count = len(found.channels)
    if options.channel is not None and not 1 <= options.channel <= count:
        numbered = ", ".join(f"{i} {name}" for i, name in enumerate(found.channels, start=1))
        raise UserError(f"{dataset}: no channel {options.channel}; its channels: {numbered}")


def _mapping_csv(entries: Sequence[SlicedScan]) -> str:
    """What each scan was, such that `voxel = pixel * scale + offset`."""
    text = io.StringIO()
    lines = [COLUMNS, *(entry.mapping for entry in entries)]
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def _dataset_warnings(dataset: Path, book: SlicingSession) -> Iterator[str]:
    """What there is to tell of the whole."""
    found, options = book.raw_dataset, book.options
    yield from (one.message for one in found.findings if one.severity != "error")
    if len(found.channels) > 1 and options.channel is None:
        named = ", ".join(f"{i} {name}" for i, name in enumerate(found.channels, start=1))
        yield f"{dataset}: of its channels ({named}) only the first is written; --channel N takes another"
    if found.exclusive and len(found.classes) > 1:
        yield (
            f"{dataset}: its classes never overlap, which the raw layout can't tell; prepared from there "
            "they will be classes that may"
        )
    moved = sum(entry.offset != 0 for entry in book.entries)
    if moved:
        yield (
            f"{dataset}: {moved} scans are written less an offset, since PNGs hold no negative values; "
            f"a fixed window of intensities has to follow it ({MAPPING} tells each)"
        )
    left = book.left_out_scans()
    if left:
        yield f"{dataset}: {len(left)} scans of other slice distances left out: {', '.join(left)}"


def _reading_arguments(book: SlicingSession) -> list[str]:
    layout = GITract()
    classes = book.raw_dataset.classes
    words = book.prepare_arguments(layout.bad_scans)
    return words if classes == layout.classes else [*words, "--classes", *classes]


@contextmanager
def _rollback_on_failure(out: Path) -> Iterator[None]:
    """Leave a folder, new or empty before, as it was if the writing fails or is stopped."""
    was_there = out.exists()
    try:
        yield
    except BaseException:
        for part in get_args(Part):
            shutil.rmtree(out / part, ignore_errors=True)
        with suppress(OSError):
            for file in (annotations.FILE, writer.SAMPLE, MAPPING):
                (out / file).unlink(missing_ok=True)
            if not was_there:
                out.rmdir()
        raise
