"""Pieces of Markdown."""

import re
from collections.abc import Iterable, Sequence


def text(words: str) -> str:
    """Prose from code, on one line: what Markdown would take for markup stays as it is, but for `code`."""
    parts = re.split(r"(`[^`]*`)", " ".join(words.split()))
    return "".join(
        part if part.startswith("`") else re.sub(r"([\\<>*_\[\]#|])", r"\\\1", part) for part in parts
    )


def paragraphs(docstring: str) -> str:
    """A docstring's paragraphs, each on a line of its own."""
    return "\n\n".join(text(part) for part in re.split(r"\n\s*\n", docstring.strip()))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, whose cells are Markdown already."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def code(value: object) -> str:
    """A value as code."""
    return f"`{value}`"


def _cell(words: str) -> str:
    return re.sub(r"(?<!\\)\|", r"\\|", words) if words else " "
