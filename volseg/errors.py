"""The one exception a user meets, and the hint that goes with a mistyped name."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake the user can mend; the text reads `where: what is wrong; what would be right`.

    Several problems of one dataset or config are one error with one line each.
    """

    @classmethod
    def from_problems(cls, problems: Iterable[str]) -> "UserError":
        """Join all problems into one error, one line each."""
        return cls("\n".join(problems))


class OutputError(UserError):
    """The output can't be written (a full disk, no permission): a fault of the whole command."""


class ElsewhereError(UserError):
    """This process ends because of another one that works with it; that one tells the reason.

    The text is empty where the other is known to tell it.
    """


def nearest_hint(name: str, known: Iterable[str]) -> str:
    """The hint to append to a message about an unknown name: `, did you mean ...?` or nothing."""
    return did_you_mean(closest_name(name, known))


def short_repr(value: object) -> str:
    """A value of the user's as Python would write it, so that it can't hide, cut to 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def closest_name(name: str, known: Iterable[str]) -> str | None:
    """The known name that is spelt most like this one, if any is."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return close[0] if close else None


def did_you_mean(name: str | None) -> str:
    """`, did you mean ...?`, or nothing for None."""
    return f", did you mean {name}?" if name else ""
