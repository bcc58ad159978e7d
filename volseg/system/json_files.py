"""JSON files: written whole or not at all, read with errors that name the file and the key."""

import json
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ValidationError

from volseg.errors import UserError, short_repr
from volseg.schema import Section, explain_errors
from volseg.system.files import read_text, write_text

Kind = TypeVar("Kind", bound=BaseModel)


def read_json(path: Path, kind: type[Kind], *, again: str = "") -> Kind:
    """A model from a JSON file; `again` says at the end of each error how to get another file.

    Raises:
        UserError: an unreadable file, or every value that is missing, wrong or unknown: a line each.
    """
    cure = f"; {again}" if again else ""
    try:
        text = read_text(path)
        refuse_repeated_keys(text, path)
    except UserError as error:
        raise UserError(f"{error}{cure}") from error
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        lines = explain_errors(error, kind)
        raise UserError.from_problems(f"{path}: {line}{cure}" for line in lines) from error


def refuse_repeated_keys(text: str, path: Path) -> None:
    """Raise a UserError for a key twice in one object, of which readers of JSON take the last in silence."""
    try:
        json.loads(text, object_pairs_hook=unique_keys)
    except RepeatedKeyError as error:
        raise UserError(f"{path}: {error}; keep one") from error
    except (ValueError, RecursionError):
        return  # not JSON, which the model's own message tells better


class RepeatedKeyError(ValueError):
    """A key twice in one object."""


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object for `json.loads`, refused by a RepeatedKeyError if two keys are equal."""
    twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
    if twice:
        raise RepeatedKeyError(f"the key {short_repr(twice[0])} twice in one object")
    return dict(pairs)


def write_json(path: Path, content: BaseModel | object, *, indent: int | None = 1) -> None:
    """Write a model or plain values as JSON, atomically."""
    if isinstance(content, BaseModel):
        text = content.model_dump_json(indent=indent)
    else:
        text = json.dumps(content, indent=indent)
    write_text(path, text + "\n")


class JsonFile(Section):
    """A model in a file of a fixed name in a folder, such as a run's; `again` as for `read_json`."""

    file: ClassVar[str]
    again: ClassVar[str] = ""

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """The content of the folder's file, by `read_json`; None where there is none."""
        path = folder / cls.file
        return read_json(path, cls, again=cls.again) if path.is_file() else None

    def write(self, folder: Path) -> None:
        """Write the folder's file, atomically."""
        write_json(folder / self.file, self)
