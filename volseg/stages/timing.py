"""Where the time of predicted scans went, as a table."""

from collections.abc import Sequence

from rich.table import Table

from volseg.inference.prediction_folder import Record

STEPS = ("read", "normalise", "network", "blend", "restore", "postprocess", "review", "write")


def table(records: Sequence[Record]) -> Table:
    """Seconds by step and scan, and their sum; of several scans the mean in the last row."""
    shown = Table("scan", *(f"{step} s" for step in STEPS), "all s")
    done = [record for record in records if record.seconds]
    for record in done:
        shown.add_row(record.scan, *_cells(record.seconds))
    if len(done) > 1:
        mean = {s: sum(r.seconds.get(s, 0.0) for r in done) / len(done) for s in STEPS}
        shown.add_row("mean", *_cells(mean))
    return shown


def _cells(seconds: dict[str, float]) -> list[str]:
    values = [seconds.get(step, 0.0) for step in STEPS]
    return [f"{value:.3f}" for value in (*values, sum(values))]
