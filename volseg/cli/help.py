"""The look of help: a paragraph is one, whatever lines it has in the source, and defaults tell something."""

import inspect
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cyclopts.help import HelpPanel
    from rich.console import Console, ConsoleOptions


def show_panel(console: "Console", options: "ConsoleOptions", panel: "HelpPanel") -> None:
    """Print a group of commands or options."""
    from cyclopts.help import DefaultFormatter
    from rich.text import Text

    for entry in panel.entries:
        text = getattr(entry.description, "primary_renderable", None)
        if isinstance(text, Text):
            entry.description.primary_renderable = Text(_on_one_line(text.plain))
    DefaultFormatter()(console, options, panel)


def default_text(value: Any) -> str | None:
    """A default as help shows it: None where there is none, and for a switch, which is off unless given."""
    return None if value is None or isinstance(value, bool) else str(value)


def prose(command: Callable[..., Any]) -> str:
    """The text above the arguments in a command's docstring, a line a paragraph."""
    text = re.split(r"\n\n(?:Args|Parameters)", inspect.getdoc(command) or "")[0]
    return "\n\n".join(map(_on_one_line, text.split("\n\n")))


def _on_one_line(text: str) -> str:
    return " ".join(text.split())
