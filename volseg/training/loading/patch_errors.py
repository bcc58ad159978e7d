"""Errors while a patch is made, told with its scan and step."""

from collections.abc import Iterator
from contextlib import contextmanager

from volseg.errors import UserError

LESS = "set data.cache=disk, or make train.patch or train.batch smaller"


@contextmanager
def told_with_place(where: str) -> Iterator[None]:
    """Say `where` an exception was raised within the body.

    Raises:
        UserError: a UserError was raised, perhaps wrapped by MONAI, or memory ran out.
        RuntimeError: any other exception, which is its cause.
    """
    try:
        yield
    except Exception as error:
        for cause in _exception_chain(error):
            if isinstance(cause, UserError):
                raise UserError(f"{where}: {cause}") from error
            if isinstance(cause, MemoryError) or "allocate memory" in str(cause):
                raise UserError(f"{where}: memory ran out; {LESS}") from error
        raise RuntimeError(f"{where}: {error!r}") from error


def _exception_chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and its causes."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
