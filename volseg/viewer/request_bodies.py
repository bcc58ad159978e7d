"""Bodies of requests, of which never more is taken than they may have."""

import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, TypeVar

from anyio import to_thread
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from volseg.schema import explain_errors
from volseg.system.files import readable_write_errors
from volseg.viewer.refusal import RefusedError

MOST_JSON = 1 << 16  # bytes
AT_ONCE = 1 << 22  # bytes that are written to the disk together
Kind = TypeVar("Kind", bound=BaseModel)


async def read_body(request: Request, most: int) -> bytes:
    """The whole body.

    Raises:
        RefusedError: it is longer than this many bytes, or says that it will be.
    """
    parts = [part async for part in _parts(request, most)]
    return b"".join(parts)


async def read_json_body(request: Request, kind: type[Kind]) -> Kind:
    """A body of JSON.

    Raises:
        RefusedError: too long, no JSON, or other keys and values than these.
    """
    return parse_json(await read_body(request, MOST_JSON), kind)


def parse_json(data: bytes, kind: type[Kind]) -> Kind:
    """A model from JSON.

    Raises:
        RefusedError: no JSON, or other keys and values than these.
    """
    try:
        return kind.model_validate(json.loads(data))
    except ValidationError as error:
        raise RefusedError(400, "; ".join(explain_errors(error, kind))) from error
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, "the request is no JSON") from error


class MaskBody:
    """A body of a line of JSON and masks of one size behind it, in a nameless file."""

    def __init__(self, file: IO[bytes], line: bytes, size: int) -> None:
        self.line = line
        self._file, self._size = file, size

    def bitmap(self, number: int) -> bytes:
        """The bytes of a mask by its number."""
        self._file.seek(len(self.line) + 1 + number * self._size)
        return self._file.read(self._size)


@asynccontextmanager
async def mask_body(request: Request, folder: Path, *, masks: int, size: int) -> AsyncIterator[MaskBody]:
    """The body with so many masks of this many bytes each; it lies in the folder meanwhile, without a name.

    Raises:
        RefusedError: longer or shorter than that.
        OutputError: the folder can't be written.
    """
    most = MOST_JSON + masks * size
    _check_stated_length(request, most)
    with readable_write_errors(folder), tempfile.TemporaryFile(dir=folder) as file:
        length, waiting = 0, bytearray()
        async for part in _parts(request, most):
            waiting += part
            length += len(part)
            if len(waiting) >= AT_ONCE:
                await to_thread.run_sync(file.write, bytes(waiting))
                waiting.clear()
        await to_thread.run_sync(file.write, bytes(waiting))
        file.seek(0)
        line = file.readline(MOST_JSON)
        if not line.endswith(b"\n"):
            raise RefusedError(400, "the request has no line of JSON in front of its masks")
        if length != len(line) + masks * size:
            given = length - len(line)
            raise RefusedError(
                400, f"the masks have {given} bytes; expected {masks} of {size} each, as the scan's shape is"
            )
        yield MaskBody(file, line[:-1], size)


async def _parts(request: Request, most: int) -> AsyncIterator[bytes]:
    """The parts of a body as they come."""
    _check_stated_length(request, most)
    length = 0
    async for part in request.stream():
        length += len(part)
        if length > most:
            raise _too_long(most)
        yield part


def _check_stated_length(request: Request, most: int) -> None:
    stated = request.headers.get("content-length", "0")
    if not stated.isdecimal() or int(stated) > most:
        raise _too_long(most)


def _too_long(most: int) -> RefusedError:
    return RefusedError(413, f"the request is too long; at most {most} bytes are taken here")
