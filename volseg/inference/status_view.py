"""What `volseg status` shows: lines of what is done and left, a table by host, the reasons of failures."""

from collections.abc import Iterator
from datetime import datetime

from rich.console import Group
from rich.table import Table
from rich.text import Text

from volseg.formatting import format_count, format_duration
from volseg.inference.status import FailedScans, Progress

REASONS = 5  # shown; the others are counted


def status_view(progress: Progress) -> Group:
    """All of it, for a terminal."""
    lines = [*_counts(progress), *_pace(progress)]
    reasons = [_reason(one) for one in progress.reasons[:REASONS]]
    if len(progress.reasons) > REASONS:
        reasons.append(f"... and {format_count(len(progress.reasons) - REASONS, 'other reason')}")
    told = any(one.host for one in progress.hosts)  # records of earlier versions name none
    return Group(*map(Text, lines), *([_table(progress)] if told else []), *map(Text, reasons))


def _counts(progress: Progress) -> Iterator[str]:
    of = "" if progress.total is None else f" of {progress.total}"
    left = "" if progress.left is None else f", {progress.left} left"
    corrected = f" ({progress.corrected} corrected)" if progress.corrected else ""
    yield f"{progress.folder}: {progress.done}{of} done{corrected}, {progress.failed} failed{left}"
    if progress.begun:
        more = ", ..." if progress.begun > len(progress.begun_scans) else ""
        yield f"begun, in work or stopped: {progress.begun} ({', '.join(progress.begun_scans)}{more})"
    if progress.unreadable:
        yield f"{format_count(progress.unreadable, 'record')} can't be read; run `volseg infer` again"


def _pace(progress: Progress) -> Iterator[str]:
    if progress.per_minute is not None:
        rest = progress.seconds_left
        to_go = f", {format_duration(rest)} to go" if rest else ""
        yield f"{progress.per_minute:.3g} scans a minute in the last ten minutes{to_go}"
    elif progress.last_finished:
        yield f"the last scan was finished at {_local(progress.last_finished)}"


def _table(progress: Progress) -> Table:
    table = Table()
    table.add_column("host", overflow="fold")
    for header in ("done", "failed", "scans/min"):
        table.add_column(header, justify="right")
    table.add_column("last finished")
    for one in progress.hosts:
        numbers = (str(one.done), str(one.failed), f"{one.per_minute:.3g}")
        table.add_row(Text(one.host or "not told"), *numbers, _local(one.last_finished))
    return table


def _reason(failed: FailedScans) -> str:
    more = ", ..." if failed.count > len(failed.scans) else ""
    return f"failed: {failed.count}: {failed.reason} ({', '.join(failed.scans)}{more})"


def _local(time: str) -> str:
    """A time in UTC as a clock here shows it."""
    try:
        return datetime.fromisoformat(time).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return time
