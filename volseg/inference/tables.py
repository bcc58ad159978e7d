"""Tables of `volseg infer`: predicted classes in order of rising confidence, and seconds by step."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich import box
from rich.markup import escape
from rich.table import Table

from volseg.inference.prediction_folder import Confidence, PredictionRecord

SHOWN = 20
NOT_CALIBRATED = "confidence is not calibrated; `volseg calibrate RUN` calibrates that of a single network"
STEPS = {
    "read": "read",
    "normalise": "nor-\nmalise",
    "network": "network",
    "blend": "blend",
    "restore": "restore",
    "postprocess": "post-\nprocess",
    "review": "review",
    "write": "write",
}
"""The steps of a prediction, and their headings."""


class ConfidenceRow(NamedTuple):
    """The confidence in one class of one scan."""

    scan: str
    class_name: str
    confidence: Confidence


def confidence_rows(records: Sequence[PredictionRecord]) -> list[ConfidenceRow]:
    """The classes of all scans in order of rising confidence.

    Classes with an empty mask come last, unless a flag says that they ought to be there: these come first.
    """
    rows = [ConfidenceRow(r.scan, name, c) for r in records for name, c in r.confidence.items()]
    return sorted(rows, key=lambda row: _review_priority(row.confidence))


def lowest_confidence(record: PredictionRecord) -> float:
    """The lowest confidence of a scan's classes, 0 of a missing one; infinite where the record has none."""
    return min((_review_priority(c)[0] for c in record.confidence.values()), default=math.inf)


def _review_priority(confidence: Confidence) -> tuple[float, int]:
    """The sort key of what a person should check first: Dice, then the number of flags."""
    if confidence.dice is None:
        return (0.0 if confidence.flags else 2.0, 0)
    return confidence.dice, -len(confidence.flags)


def confidence_table(records: Sequence[PredictionRecord], most: int = SHOWN) -> Table:
    """A row a class, at most `most`: its confidence, the slices to check first, and why.

    In narrow columns lines are folded, so that no name is cut.
    """
    rows = confidence_rows(records)
    caption = f"{len(rows) - most} more in predictions.json" if len(rows) > most else None
    table = Table(caption=caption, caption_justify="left")
    for header in ("organ", "confi-\ndence", "slices to\ncheck first", "why"):
        table.add_column(header, overflow="fold")
    for scan, class_name, confidence in rows[:most]:
        why = "; ".join(flag.text for flag in confidence.flags)
        dice = "not found" if confidence.dice is None else f"{confidence.dice:.2f}"
        table.add_row(escape(f"{scan} {class_name}"), dice, _format_ranges(confidence.slices), why)
    return table


def confidence_notes(records: Sequence[PredictionRecord]) -> Iterator[str]:
    """Notes to the table of confidence."""
    if any(not row.confidence.calibrated for row in confidence_rows(records)):
        yield NOT_CALIBRATED


def _format_ranges(slices: Sequence[tuple[int, int]]) -> str:
    return ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in slices)


def timing_table(records: Sequence[PredictionRecord]) -> Table:
    """Seconds by step and scan, and their sum; of several scans the mean in the last row."""
    table = Table(title="seconds", title_justify="left", box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    table.add_column("scan", overflow="fold")
    for name in (*STEPS.values(), "all"):
        table.add_column(name, justify="right")
    done = [record for record in records if record.seconds]
    for record in done:
        table.add_row(record.scan, *_timing_cells(record.seconds))
    if len(done) > 1:
        mean = {s: sum(r.seconds.get(s, 0.0) for r in done) / len(done) for s in STEPS}
        table.add_row("mean", *_timing_cells(mean))
    return table


def _timing_cells(seconds: dict[str, float]) -> list[str]:
    values = [seconds.get(step, 0.0) for step in STEPS]
    return [_format_seconds(value) for value in (*values, sum(values))]


def _format_seconds(seconds: float) -> str:
    """Five signs at most: 0.004, 1.234, 12.34, 123.4, 1234."""
    return f"{seconds:.{max(0, 4 - len(str(int(seconds)))) if seconds >= 10 else 3}f}"
