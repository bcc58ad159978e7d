"""The command that writes a page about a run or predictions."""

from pathlib import Path

from volseg.arguments import PREDICTIONS
from volseg.cli import output


def report(
    source: str = str(PREDICTIONS), /, *, data: Path | None = None, out: Path = Path("report.html")
) -> None:
    """Write one page of HTML about a run or predictions: scores, the worst scans to scroll through, curves.

    Scores that are missing or out of date are made, as by `volseg evaluate`.

    Parameters
    ----------
    source:
        A folder that `volseg infer` wrote, or a run: its name under runs/ or its path.
    data:
        The prepared dataset that holds images and truth; by default data/prepared, if it has the scans.
    out:
        The file to write. It is less than 15 MB and loads nothing.
    """
    output.configure_console()
    from volseg.formatting import format_bytes
    from volseg.report import report as stage

    done = stage.report(source, data=data, out=out)
    for note in done.notes:
        output.message(f"note: {note}")
    left = f", {done.named} named only" if done.named else ""
    print(f"{done.path}: {format_bytes(done.size)}, {done.drawn} scans to look at{left}")
