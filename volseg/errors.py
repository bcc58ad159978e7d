"""Errors of users, and hints for mistyped names."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake that the user can mend: `where: what is wrong; what would be right`.

    Several problems of a dataset or config are one error with a line each.
    """

    @classmethod
    def from_problems(cls, problems: Iterable[str]) -> "UserError":
        """One error of all problems, a line each."""
        return cls("\n".join(problems))


class OutputError(UserError):
    """The output can't be written (a full disk, no permission), so the command ends."""


class ElsewhereError(UserError):
    """This process ends because another one that works with it has ended.

    The text is empty where the other process tells the reason.
    """


def nearest_hint(name: str, known: Iterable[str]) -> str:
    """`, did you mean ...?` with the known name of the closest spelling, or nothing."""
    return did_you_mean(closest_name(name, known))


def short_repr(value: object) -> str:
    """A value's repr, cut to 60 characters, which shows blanks and control characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def closest_name(name: str, known: Iterable[str]) -> str | None:
    """The known name of the closest spelling, or None."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return close[0] if close else None


def did_you_mean(name: str | None) -> str:
    """`, did you mean ...?`, or nothing for None."""
    return f", did you mean {name}?" if name else ""
