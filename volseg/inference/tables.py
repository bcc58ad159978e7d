"""Where to look: the predicted organs, those that are trusted least first, as a table and in words."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.markup import escape
from rich.table import Table

from volseg.inference.prediction_folder import Confidence, PredictionRecord

SHOWN = 20
NOT_CALIBRATED = "confidence is not calibrated; run `volseg calibrate RUN`, then infer again"


class ConfidenceRow(NamedTuple):
    """One organ of one scan."""

    scan: str
    class_name: str
    confidence: Confidence


def confidence_rows(records: Sequence[PredictionRecord]) -> list[ConfidenceRow]:
    """The organs of all scans that are done, those with the least confidence first.

    Organs that were not found come last, before them only those that ought to have been.
    """
    found = [ConfidenceRow(r.scan, n, c) for r in records for n, c in r.confidence.items()]
    return sorted(found, key=lambda row: _review_priority(row.confidence))


def lowest_confidence(record: PredictionRecord) -> float:
    """The lowest confidence of a scan's organs, 0 of one that ought to be there; infinite if none is told."""
    return min((_review_priority(told)[0] for told in record.confidence.values()), default=math.inf)


def _review_priority(confidence: Confidence) -> tuple[float, int]:
    """Sorts by what a person ought to see first."""
    if confidence.dice is None:
        return (0.0 if confidence.flags else 2.0, 0)
    return confidence.dice, -len(confidence.flags)


def confidence_table(records: Sequence[PredictionRecord], most: int = SHOWN) -> Table:
    """A row an organ, `most` at most: its confidence, the slices to look at first, and why.

    Where columns are narrow, lines are folded and no name is cut.
    """
    found = confidence_rows(records)
    left = f"{len(found) - most} more in predictions.json" if len(found) > most else None
    shown = Table(caption=left, caption_justify="left")
    for header in ("organ", "confi-\ndence", "slices to\ncheck first", "why"):
        shown.add_column(header, overflow="fold")
    for row in found[:most]:
        told = row.confidence
        why = "; ".join(flag.text for flag in told.flags)
        dice = "not found" if told.dice is None else f"{told.dice:.2f}"
        shown.add_row(escape(f"{row.scan} {row.class_name}"), dice, _format_ranges(told.slices), why)
    return shown


def confidence_notes(records: Sequence[PredictionRecord]) -> Iterator[str]:
    """What a reader of the table has to know."""
    if any(not row.confidence.calibrated for row in confidence_rows(records)):
        yield NOT_CALIBRATED


def _format_ranges(slices: Sequence[tuple[int, int]]) -> str:
    return ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in slices)


STEPS = ("read", "normalise", "network", "blend", "restore", "postprocess", "review", "write")


def timing_table(records: Sequence[PredictionRecord]) -> Table:
    """Seconds by step and scan, and their sum; of several scans the mean in the last row."""
    shown = Table("scan", *(f"{step} s" for step in STEPS), "all s")
    done = [record for record in records if record.seconds]
    for record in done:
        shown.add_row(record.scan, *_timing_cells(record.seconds))
    if len(done) > 1:
        mean = {s: sum(r.seconds.get(s, 0.0) for r in done) / len(done) for s in STEPS}
        shown.add_row("mean", *_timing_cells(mean))
    return shown


def _timing_cells(seconds: dict[str, float]) -> list[str]:
    values = [seconds.get(step, 0.0) for step in STEPS]
    return [f"{value:.3f}" for value in (*values, sum(values))]
