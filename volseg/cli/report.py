"""The command `volseg report`."""

from pathlib import Path

from volseg.arguments import MaskOptions
from volseg.cli import output


def report(
    source: str | None = None,
    /,
    *,
    data: Path | None = None,
    out: Path = Path("report.html"),
    masks: MaskOptions = MaskOptions(),
) -> None:
    """Write one page of HTML about a run or masks: scores, the worst scans to scroll through, curves.

    Scores that are missing or out of date are computed, as by `volseg evaluate`.

    Args:
        source: A folder of masks by volseg or another tool, or a run: its name under runs/ or its path. By
            default the newest predictions below predictions/.
        data: The prepared dataset with images and labels; by default that of the predictions.
        out: The file to write. It is less than 15 MB and loads nothing.
    """
    output.configure_console()
    from volseg.formatting import format_bytes
    from volseg.report import report as stage

    what = source or str(output.predictions_folder(None))
    result = stage.report(what, data=data, out=out, options=masks)
    output.notes(result.notes)
    left = f", {result.named} named only" if result.named else ""
    size = format_bytes(result.size) if result.size >= 1e6 else f"{result.size / 1e3:.0f} kB"
    print(f"{result.path}: {size}, {result.drawn} scans to look at{left}")
