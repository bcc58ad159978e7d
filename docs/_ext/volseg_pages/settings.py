"""The settings of a Section as text: what type they have, and their default."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter

LIMITS = {
    "exclusiveMinimum": "above {}",
    "minimum": "from {}",
    "exclusiveMaximum": "below {}",
    "maximum": "to {}",
}
WORDS = {"string": "text", "boolean": "true or false", "integer": "whole number", "null": "null"}


class Settings:
    """The fields of a model or dataclass by its JSON schema."""

    def __init__(self, model: type[Any]) -> None:
        self.schema = TypeAdapter(model).json_schema(mode="validation")
        self.fields: Mapping[str, Mapping[str, Any]] = self.schema.get("properties", {})
        self.required = self.schema.get("required", ())

    def type_text(self, name: str) -> str:
        """A field's type in words, e.g. `list of 3: whole number above 0`."""
        return self._type(self.fields[name])

    def default_text(self, name: str) -> str:
        """A field's default as YAML would have it; "(required)" where there is none."""
        if name in self.required:
            return "(required)"
        default = self.fields[name].get("default")
        named = isinstance(default, dict) and "name" in default
        return str(default["name"]) if named else json.dumps(default, ensure_ascii=False).strip('"')

    def _type(self, one: Mapping[str, Any]) -> str:
        if "$ref" in one:
            return self._referred(one)
        if "const" in one:
            return f"`{one['const']}`"
        if "enum" in one:
            return " or ".join(f"`{value}`" for value in one["enum"])
        if some := one.get("anyOf") or one.get("oneOf"):
            return " or ".join(dict.fromkeys(self._type(part) for part in some))
        return self._by_type(one)

    def _by_type(self, one: Mapping[str, Any]) -> str:
        kind = one.get("type", "any")
        if kind == "array":
            return self._array(one)
        if kind == "object":
            inner = one.get("additionalProperties")
            return f"map to: {self._type(inner)}" if isinstance(inner, dict) else "map"
        return " ".join([WORDS.get(kind, kind), *_limits(one)])

    def _array(self, one: Mapping[str, Any]) -> str:
        parts = [self._type(part) for part in one.get("prefixItems", [])]
        if parts and len(set(parts)) == 1:
            return f"list of {len(parts)}: {parts[0]}"
        if parts:
            return f"list of {', '.join(parts)}"
        inner = one.get("items")
        return f"list of: {self._type(inner)}" if inner else "list"

    def _referred(self, one: Mapping[str, Any]) -> str:
        title = one["$ref"].rpartition("/")[2]
        found = self.schema.get("$defs", {}).get(title, {})
        return title if found.get("type") == "object" else self._type(found)


def _limits(one: Mapping[str, Any]) -> Iterator[str]:
    yield from (words.format(f"{one[key]:g}") for key, words in LIMITS.items() if key in one)
