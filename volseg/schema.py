"""Settings as frozen, strict classes: `Section`, unions by name, and readable errors."""

import logging
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    PositiveInt,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from volseg.errors import UserError, closest_name, did_you_mean, nearest_hint
from volseg.plugins import Plugin, PluginError, find_plugin, offered_plugins

log = logging.getLogger(__name__)


class Section(BaseModel):
    """A group of settings, immutable; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _yes_is_no_number(cls, values: Any) -> Any:
        """Refuse true and false for numbers: pydantic takes them for 1 and 0."""
        if not isinstance(values, dict):
            return values
        numbers = {key for key, field in cls.model_fields.items() if field.annotation is not bool}
        return {
            key: str(value) if isinstance(value, bool) and key in numbers else value
            for key, value in values.items()
        }


@dataclass(frozen=True)
class NamedUnion:
    """Mark of a union of Sections with different `name`s; in YAML a bare name stands for its defaults.

    Written `Network = Annotated[UNet | SegResNet, NamedUnion()]`, so that type checkers see the union. Other
    installed packages add to it by entry points of `group`, which are read when a name isn't one of ours:
    classes of the kind `base` that define what volseg `needs` of them.
    """

    group: str = ""
    base: type[Section] = Section
    needs: tuple[str, ...] = ()

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Pydantic's hook: the union's schema behind a validator that takes bare names and plug-ins."""
        single = isinstance(source, type)
        tagged = source if single else Annotated[source, Field(discriminator="name")]

        def validate(value: Any, own: Callable[[Any], Any]) -> Any:
            return self._validate(value, own, _by_name(source))

        return core_schema.no_info_wrap_validator_function(
            validate, handler.generate_schema(tagged), serialization=core_schema.simple_ser_schema("any")
        )

    def _validate(self, value: Any, own: Callable[[Any], Any], members: Mapping[str, type[Section]]) -> Any:
        if isinstance(value, str):
            value = {"name": value}
        name = value.get("name") if isinstance(value, dict) else getattr(value, "name", None)
        if not isinstance(name, str) or name in members:
            return own(value)
        try:
            plugin = find_plugin(self.group, name)
            component = self.load(plugin) if plugin else None
        except PluginError as error:
            raise PydanticCustomError("plugin", "{reason}", {"reason": str(error)}) from error
        if component is None:
            names = [*members, *(plugin.name for plugin in offered_plugins(self.group))]
            told = {"name": name, "hint": nearest_hint(name, names), "names": ", ".join(names)}
            raise PydanticCustomError(
                "unknown_component", "unknown name '{name}'{hint} (known: {names})", told
            )
        return component.model_validate(value)

    def load(self, plugin: Plugin) -> type[Section]:
        """The class of a plug-in of this union; a PluginError says why there is none."""
        return plugin.load(self.base, self.needs)


def union_members(kind: Any) -> dict[str, type[Section]]:
    """The classes of volseg itself in a union marked with NamedUnion, by name."""
    return _by_name(get_args(kind)[0])


def union_group(kind: Any) -> str:
    """The group of entry points by which other packages add to a union."""
    mark: NamedUnion = get_args(kind)[1]
    return mark.group


def _by_name(union: Any) -> dict[str, type[Section]]:
    return {member.model_fields["name"].default: member for member in get_args(union) or (union,)}


def union_plugins(kind: Any) -> Iterator[tuple[Plugin, type[Section] | PluginError]]:
    """What other packages add to a union: each plug-in with its class, or with what is wrong with it."""
    mark: NamedUnion = get_args(kind)[1]
    for plugin in offered_plugins(mark.group):
        if plugin.name in union_members(kind):
            yield plugin, PluginError(f"'{plugin.name}' of the package {plugin} is hidden by volseg's own")
            continue
        try:
            find_plugin(mark.group, plugin.name)
            yield plugin, mark.load(plugin)
        except PluginError as error:
            yield plugin, error


def usable_plugins(kind: Any) -> Iterator[tuple[Plugin, type[Section]]]:
    """What other packages add to a union and can be used; what can't is told of once."""
    for plugin, component in union_plugins(kind):
        if isinstance(component, PluginError):
            _warn_once(str(component))
        else:
            yield plugin, component


@cache
def _warn_once(fault: str) -> None:
    log.warning("note: %s", fault)


def build_component(kind: Any, settings: Mapping[str, Any], where: str) -> Any:
    """The component of a union with these settings, among them its name.

    Raises:
        UserError: lines that begin with `where`, the option that names it, for an unknown name or wrong
            settings.
    """
    try:
        return TypeAdapter(kind).validate_python(dict(settings))
    except ValidationError as error:
        name = str(settings["name"])
        known = union_members(kind).get(name, Section)
        place = f"{where} {name}" if error.errors()[0]["loc"] else where
        raise UserError.from_problems(f"{place}: {line}" for line in explain_errors(error, known)) from error


def explain_errors(error: ValidationError, model: type[BaseModel]) -> Iterator[str]:
    """A line for each mistake: `dotted.key: what is wrong`, with the nearest known key of an unknown one."""
    known = dict.fromkeys(dotted_keys(model))
    for mistake in _first_causes(error):
        place = _dotted_place(mistake["loc"], known)
        if mistake["type"] == "extra_forbidden":
            owners = ", ".join(_components_with(model, place))
            own = str(mistake["loc"][-2]) if owners else ""
            of = "" if place.split(".")[-2:-1] == [own] else f" of {own}"  # a plug-in's name isn't told
            hint = f"{of}, a setting of {owners}" if owners else _nearest_key(place, known)
            yield f"{place}: unknown key{hint}"
        elif mistake["type"] in ("unknown_component", "plugin"):
            yield f"{place}: {mistake['msg']}".removeprefix(": ")
        elif mistake["type"] == "union_tag_not_found":
            yield f"{place}: has no name; expected a bare name, or {{name: ...}} with its settings"
        elif mistake["type"] == "model_type":
            keys = ", ".join(f"{key}: ..." for key in _fields_at(model, place))
            yield f"{place}: expected settings, {{{keys}}}{_got_value(mistake)}"
        elif mistake["type"] == "missing":
            yield f"{place}: missing"
        else:
            message = mistake["msg"].removeprefix("Value error, ")
            yield f"{place}: {message}{_got_value(mistake)}" if place else message


def _first_causes(error: ValidationError) -> Iterator[Any]:
    """The mistakes but for "too short" of a list whose items are wrong: those were left out of the count."""
    mistakes = error.errors()
    for mistake in mistakes:
        place = mistake["loc"]
        inner = any(other["loc"][: len(place)] == place for other in mistakes if other is not mistake)
        if mistake["type"] != "too_short" or not inner:
            yield mistake


def _components_with(model: type[BaseModel], place: str) -> list[str]:
    """Names of the components of a union that have the setting at a dotted place, which another hasn't."""
    section, _, word = place.rpartition(".")
    owners = [one.model_fields for one in _sections_at(model, section) if word in one.model_fields]
    return [fields["name"].default for fields in owners if "name" in fields]


def _fields_at(model: type[BaseModel], place: str) -> dict[str, None]:
    """The settings of the section, or of all sections of a union, at a dotted place."""
    return dict.fromkeys(key for one in _sections_at(model, place) for key in one.model_fields)


def _sections_at(model: type[BaseModel], place: str) -> list[type[BaseModel]]:
    """The section that stands at a dotted place, or all of a union; positions in lists don't count."""
    sections: list[type[BaseModel]] = [model]
    for part in place.split("."):
        if part and not part.isdecimal():
            fields = (one.model_fields[part] for one in sections if part in one.model_fields)
            sections = [inner for field in fields for inner in _nested_sections(field.annotation)]
    return sections


def dotted_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every dotted key below a model, the members of unions included."""
    for name, field in model.model_fields.items():
        yield prefix + name
        for section in _nested_sections(field.annotation):
            yield from dotted_keys(section, f"{prefix}{name}.")


def _nested_sections(annotation: Any) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    elif get_origin(annotation) in (Annotated, typing.Union, types.UnionType, tuple, list, dict):
        for part in get_args(annotation):
            if part is not Ellipsis and get_origin(part) is not Literal:
                yield from _nested_sections(part)


def _dotted_place(location: tuple[int | str, ...], known: Mapping[str, None]) -> str:
    """The dotted place of a mistake, without the tags of unions that pydantic adds."""
    place, key = "", ""  # `key` is the place without positions in lists
    for position, part in enumerate(location):
        longer = key if isinstance(part, int) else f"{key}.{part}".lstrip(".")
        is_tag = longer not in known and key in known and position < len(location) - 1
        if not is_tag:
            place, key = f"{place}.{part}".lstrip("."), longer
    return place


def _nearest_key(place: str, known: Mapping[str, None]) -> str:
    """A hint by the last word: the same word in another section, else the closest spelling, best nearby."""
    section, _, word = place.rpartition(".")
    words: dict[str, str] = {}
    for key in sorted(known, key=lambda key: key.rpartition(".")[0] != section):
        words.setdefault(key.rpartition(".")[2], key)
    return did_you_mean(words.get(closest_name(word, words) or ""))


def _got_value(mistake: Any) -> str:
    value = mistake["input"]
    return f" (got {value!r})" if isinstance(value, str | int | float | None) else ""


def name_fault(name: str, *, longest: int = 200) -> str:
    """The reason why a text can't be the name of a file, and so of a scan or a class, or ''.

    Files may have names of 255 bytes; to those of scans and classes endings are added.
    """
    faults = {
        "it is blank": not name.strip(),
        "it holds a character that can't be printed": not name.isprintable(),
        f"it begins with {name[:1]!r}": name.startswith((".", "-")),
        "it holds one of / \\ :": not set(name).isdisjoint("/\\:"),
        f"it is longer than {longest} bytes": len(name.encode(errors="replace")) > longest,
        "Windows keeps it for a device": name.partition(".")[0].upper() in _DEVICES,
    }
    return next((fault for fault, found in faults.items() if found), "")


def _check_name(name: str, what: str) -> str:
    fault = name_fault(name)
    if fault:
        raise ValueError(f"can't be the name of {what}: {fault}")
    return name


def _check_path_inside(path: str) -> str:
    parts = PurePosixPath(path).parts
    if any(name_fault(part, longest=255) for part in parts or ("",)):
        raise ValueError("not the path of a file inside this folder")
    return path


_DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{i}" for port in ("COM", "LPT") for i in range(10))}
ScanName = Annotated[str, AfterValidator(partial(_check_name, what="a scan"))]
ClassName = Annotated[str, AfterValidator(partial(_check_name, what="a class"))]
FileName = Annotated[str, AfterValidator(partial(_check_name, what="a file in this folder"))]
PathInside = Annotated[str, AfterValidator(_check_path_inside)]
Size = tuple[PositiveInt, PositiveInt, PositiveInt]
Share = Annotated[float, Field(ge=0, le=1)]
Spacing = tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]
