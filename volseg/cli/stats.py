"""The command `volseg stats`."""

import sys
from pathlib import Path

from volseg.arguments import DATA
from volseg.cli import output


def stats(data: Path = DATA, /, *, out: Path | None = None, json: bool = False) -> None:
    """Describe a prepared dataset by numbers and plots: sizes, intensities, volumes, places of classes.

    Args:
        data: The folder that `volseg prepare` wrote.
        out: The page of plots to write; by default stats.html in the dataset's folder.
        json: Print all numbers, those of each scan too, as JSON on stdout.
    """
    output.configure_console()
    from volseg.stats import stats as stage
    from volseg.stats import tables

    result = stage.stats(data)
    path = out or data / stage.PAGE
    stage.write_stats_page(result, path)
    if json:
        print(result.model_dump_json(indent=1))
    else:
        output.print_table(tables.overview_table(result))
    print(f"{path}: the page of plots", file=sys.stderr if json else None)
