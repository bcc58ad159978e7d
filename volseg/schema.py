"""Settings as frozen, strict classes: `Section`, the union `choice()`, and errors people can read."""

import types
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from volseg.errors import nearest


class Section(BaseModel):
    """A group of settings: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def choice(union: Any) -> Any:
    """A union of Sections told apart by their `name`; a bare name stands for its defaults."""

    def named(value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    members = get_args(union) or (union,)
    if len(members) == 1:
        return Annotated[union, BeforeValidator(named)]
    return Annotated[union, Field(discriminator="name"), BeforeValidator(named)]


def members(kind: Any) -> dict[str, type[Section]]:
    """The classes of a `choice()`, by name."""
    union = get_args(kind)[0]
    classes = get_args(union) or (union,)
    return {member.model_fields["name"].default: member for member in classes}


def explain(error: ValidationError, model: type[Section]) -> Iterator[str]:
    """One line a mistake: `dotted.key: what is wrong`, with the nearest known key for unknown ones."""
    known = dict.fromkeys(keys(model))
    for mistake in error.errors():
        place = _place(mistake["loc"], known)
        if mistake["type"] == "extra_forbidden":
            yield f"{place}: unknown key{_nearest_key(place, known)}"
        elif mistake["type"] == "union_tag_invalid":
            context = mistake["ctx"]
            names = context["expected_tags"].replace("'", "")
            hint = nearest(str(context["tag"]), names.split(", "))
            yield f"{place}: unknown name '{context['tag']}'{hint} (known: {names})"
        elif mistake["type"] == "missing":
            yield f"{place}: missing"
        else:
            message = mistake["msg"].removeprefix("Value error, ")
            yield f"{place}: {message}{_got(mistake)}" if place else message


def keys(model: type[Section], prefix: str = "") -> Iterator[str]:
    """Every dotted key below a Section, the members of unions included."""
    for name, field in model.model_fields.items():
        yield prefix + name
        for section in _sections(field.annotation):
            yield from keys(section, f"{prefix}{name}.")


def _sections(annotation: Any) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    elif get_origin(annotation) in (Annotated, typing.Union, types.UnionType, tuple, list, dict):
        for part in get_args(annotation):
            if part is not Ellipsis and get_origin(part) is not Literal:
                yield from _sections(part)


def _place(location: tuple[int | str, ...], known: Mapping[str, None]) -> str:
    """The dotted place of a mistake, without the union's tags that pydantic puts into it."""
    place = ""
    for position, part in enumerate(location):
        longer = f"{place}.{part}".lstrip(".")
        tag = longer not in known and place in known and position < len(location) - 1
        place = place if tag and isinstance(part, str) else longer
    return place


def _nearest_key(place: str, known: Mapping[str, None]) -> str:
    """Prefer the same word in its right section, then the closest spelling."""
    word = place.rsplit(".", 1)[-1]
    same = [key for key in known if key.rsplit(".", 1)[-1] == word and key != place]
    return f", did you mean {same[0]}?" if same else nearest(place, known) or _by_word(word, known)


def _by_word(word: str, known: Mapping[str, None]) -> str:
    words = {key.rsplit(".", 1)[-1]: key for key in known}
    hint = nearest(word, words)
    for last, key in words.items():
        if hint == f", did you mean {last}?":
            return f", did you mean {key}?"
    return ""


def _got(mistake: Any) -> str:
    value = mistake["input"]
    return f" (got {value!r})" if isinstance(value, str | int | float | None) else ""
