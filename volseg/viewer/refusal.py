"""The error that the page is told, with its HTTP status."""

from volseg.errors import UserError


class RefusedError(UserError):
    """A request that is refused: the status, and a sentence for the person at the page."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
