"""How commands speak: results on stdout, everything else on stderr."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

SOME_FAILED = 3


def configure_console() -> "ModuleType":
    """The module of progress bars, with volseg's log sent to stderr."""
    from volseg import console as module

    module.configure_logging()
    return module


def print_table(table: object, *, error: bool = False) -> None:
    """A table on stdout, or on stderr where that is for something else.

    It is not folded where there is no terminal, so that `grep` finds whole messages.
    """
    from rich.console import Console

    shown = (sys.stderr if error else sys.stdout).isatty()
    out = Console(stderr=error) if shown else Console(stderr=error, width=100_000)
    out.print(table)


def message(text: str) -> None:
    """A line on stderr."""
    print(text, file=sys.stderr)
