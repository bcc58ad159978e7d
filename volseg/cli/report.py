"""The command `volseg report`."""

from pathlib import Path

from volseg.arguments import PREDICTIONS
from volseg.cli import output


def report(
    source: str = str(PREDICTIONS), /, *, data: Path | None = None, out: Path = Path("report.html")
) -> None:
    """Write one page of HTML about a run or predictions: scores, the worst scans to scroll through, curves.

    Scores that are missing or out of date are computed, as by `volseg evaluate`.

    Args:
        source: A folder that `volseg infer` wrote, or a run: its name under runs/ or its path.
        data: The prepared dataset with images and labels; by default data/prepared, if it has the scans.
        out: The file to write. It is less than 15 MB and loads nothing.
    """
    output.configure_console()
    from volseg.formatting import format_bytes
    from volseg.report import report as stage

    result = stage.report(source, data=data, out=out)
    for note in result.notes:
        output.message(f"note: {note}")
    left = f", {result.named} named only" if result.named else ""
    print(f"{result.path}: {format_bytes(result.size)}, {result.drawn} scans to look at{left}")
