"""The one exception a user meets, and the hint that goes with a mistyped name."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake the user can mend; the text reads `where: what is wrong; what would be right`.

    Several problems of one dataset or config are one error with one line each.
    """

    @classmethod
    def of(cls, problems: Iterable[str]) -> "UserError":
        """Join all problems into one error, one line each."""
        return cls("\n".join(problems))


def nearest(name: str, known: Iterable[str]) -> str:
    """The hint to append to a message about an unknown name: `, did you mean ...?` or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f", did you mean {close[0]}?" if close else ""
