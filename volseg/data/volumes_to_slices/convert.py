"""A dataset of volumes written in the raw layout."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from volseg.data.layouts import GITract, RawDataset
from volseg.data.layouts.gi_tract import annotations, writer
from volseg.data.layouts.raw_dataset import Part
from volseg.data.volumes_to_slices import sources
from volseg.data.volumes_to_slices.raw_names import raw_names
from volseg.data.volumes_to_slices.session import SlicingOptions, SlicingSession
from volseg.errors import UserError
from volseg.system.files import write_csv

MAPPING = "mapping.csv"  # each scan's source, such that `voxel = pixel * scale + offset`
COLUMNS = ("scan", "name", "case", "day", "source", "channel", "scale", "offset")

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ConversionResult:
    """Counts of what was written, warnings of losses, and the words of the command that reads it."""

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
    """Write slices, `mapping.csv` and the tables; `on_scan(done, total)` reports progress.

    All scans are read, also after a fault; but then nothing is left in `out`.

    Raises:
        UserError: `out` isn't new or empty, faults of the dataset or of its scans (all of them), scans
            of several distances of slices, or the disk is full.
    """
    writer.check_new(out)
    raw = sources.find_raw_dataset(dataset)
    if options.channel is not None and not 1 <= options.channel <= len(raw.channels):
        raise UserError(f"{dataset}: no channel {options.channel}; its channels: {_numbered_channels(raw)}")
    faults = [finding.message for finding in raw.findings if finding.severity == "error"]
    session = SlicingSession(out, raw, raw_names(raw.scans), options, faults)
    with _rollback_on_failure(out):
        for position, scan in enumerate(raw.scans, start=1):
            session.add_scan(scan)
            on_scan(position, len(raw.scans))
        session.check_faults()
        entries = session.entries
        write_csv(out / MAPPING, COLUMNS, (entry.mapping for entry in entries))
        writer.write_tables(out, (row for entry in entries for row in entry.rows))
    losses = (loss for entry in entries for loss in entry.losses)
    return ConversionResult(
        scans=len(entries),
        labelled=sum(bool(entry.rows) for entry in entries),
        slices=sum(len(entry.numbers) for entry in entries),
        warnings=(*_dataset_warnings(dataset, session), *losses),
        command=("volseg", "prepare", str(out), *_reading_arguments(session)),
    )


def _numbered_channels(raw: RawDataset) -> str:
    return ", ".join(f"{i} {name}" for i, name in enumerate(raw.channels, start=1))


def _dataset_warnings(dataset: Path, session: SlicingSession) -> Iterator[str]:
    """The warnings on the dataset as a whole."""
    raw = session.raw_dataset
    yield from (finding.message for finding in raw.findings if finding.severity != "error")
    if len(raw.channels) > 1 and session.options.channel is None:
        named = _numbered_channels(raw)
        yield f"{dataset}: of its channels ({named}) only the first is written; --channel N takes another"
    if raw.exclusive and len(raw.classes) > 1:
        yield (
            f"{dataset}: its classes never overlap, which the raw layout can't tell; prepared from there "
            "they will be classes that may"
        )
    shifted = sum(entry.offset != 0 for entry in session.entries)
    if shifted:
        yield (
            f"{dataset}: {shifted} scans are written less an offset, since PNGs hold no negative values; "
            f"a fixed window of intensities has to follow it ({MAPPING} tells each)"
        )
    left_out = session.left_out_scans()
    if left_out:
        yield f"{dataset}: {len(left_out)} scans of other slice distances left out: {', '.join(left_out)}"


def _reading_arguments(session: SlicingSession) -> list[str]:
    layout = GITract()
    classes = session.raw_dataset.classes
    words = session.prepare_arguments(layout.bad_scans)
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
