"""Output of commands: results on stdout, everything else on stderr."""

import sys
from typing import TYPE_CHECKING

from volseg.formatting import first_few

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import ModuleType

SOME_FAILED = 3


def configure_console() -> "ModuleType":
    """The module of progress bars, after volseg's log is sent to stderr."""
    from volseg import console

    console.configure_logging()
    return console


def predictions_folder(given: "Path | None") -> "Path":
    """The folder of predictions that was named; without one the newest."""
    if given is not None:
        return given
    from volseg.inference.prediction_places import newest_predictions

    return newest_predictions()


def print_table(table: object, *, error: bool = False) -> None:
    """Print a table on stdout or stderr; without a terminal its lines are not folded, for `grep`."""
    from rich.console import Console

    terminal = (sys.stderr if error else sys.stdout).isatty()
    Console(stderr=error, width=None if terminal else 100_000).print(table)


def notes(texts: "Sequence[str]") -> None:
    """Print notes on stderr; of very many the first ones."""
    for text in first_few(texts, "notes"):
        message(f"note: {text}")


def message(text: str) -> None:
    """Print a line on stderr."""
    print(text, file=sys.stderr)
