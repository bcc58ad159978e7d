"""Tables of `volseg infer`: predicted classes in order of rising confidence, and seconds by step."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich import box
from rich.markup import escape
from rich.table import Table

from volseg.inference.prediction_record import Confidence, PredictionRecord

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
    """The lowest confidence of a scan's classes; infinite where none is known.

    It is 0 where a class is missing, and of a scan unlike those of training.
    """
    if record.outside:
        return 0.0
    return min((_known_dice(c) for c in record.confidence.values()), default=math.inf)


def _known_dice(confidence: Confidence) -> float:
    """The Dice to expect: 0 of a class that ought to be there, infinite where there is nothing to expect."""
    if confidence.dice is None:
        return 0.0 if confidence.flags and not confidence.doubt else math.inf
    return confidence.dice


def _review_priority(confidence: Confidence) -> tuple[float, int]:
    """The sort key of what a person should check first: Dice, then the number of flags.

    Where nobody knows the Dice, flags come first, and without any the mask is looked at after all others.
    """
    if confidence.dice is None:
        return (0.0 if confidence.flags else 2.0 - bool(confidence.doubt) / 2, -len(confidence.flags))
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
        dice = f"{format_confidence(confidence)} {format_range(confidence)}".rstrip()
        table.add_row(escape(f"{scan} {class_name}"), dice, _format_ranges(confidence.slices), why)
    return table


def format_confidence(confidence: Confidence) -> str:
    """The Dice to expect of a mask, or why there is none, in a word."""
    if confidence.dice is None:
        return "unknown" if confidence.doubt else "not found"
    return f"{confidence.dice:.2f}"


def format_range(confidence: Confidence) -> str:
    """The range of the Dice to expect in brackets, or ""."""
    return "({:.2f}-{:.2f})".format(*confidence.range) if confidence.range else ""


def confidence_notes(records: Sequence[PredictionRecord]) -> Iterator[str]:
    """Notes to the table: whether confidence is calibrated, how good it was, and where it says nothing."""
    rows = confidence_rows(records)
    if any(not row.confidence.calibrated for row in rows):
        yield NOT_CALIBRATED
    errors = {row.class_name: error for row in rows if (error := row.confidence.error) is not None}
    if errors:
        each = ", ".join(f"{name} {error:.2f}" for name, error in sorted(errors.items()))
        yield f"mean distance of confidence from Dice on validation scans that had no part in it: {each}"
    if any(row.confidence.range for row in rows):
        yield "the Dice of eight masks in ten lies in the range in brackets, if new scans are like those"
    doubts: dict[str, dict[str, None]] = {}
    for row in rows:
        doubts.setdefault(row.confidence.doubt, {})[row.class_name] = None
    doubts.pop("", None)
    for doubt, names in doubts.items():
        yield f"unknown for {', '.join(names)}: {doubt}"


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
