"""YAML that people write: plain words stay words, and nothing is given twice or stands for something else.

In YAML 1.1, which PyYAML reads, `no` is a boolean, `010` is 8 and `1:30` is 90. Here what is not null, true,
false or a plain number is text; whoever wants a number makes 10 of `010`, and says that `1:30` is none.
"""

import re
from collections.abc import Hashable
from typing import Any

import yaml

from volseg.errors import UserError

RESOLVED = {  # each a part of what PyYAML writes unquoted, so that text is read as text again
    "null": (r"~|null|Null|NULL|", "~nN"),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    "float": (
        r"[-+]?(0|[1-9][0-9]*)\.[0-9]*([eE][-+][0-9]+)?|\.[0-9]+|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
}


def parse_yaml(text: str, where: str) -> Any:
    """The values of a YAML document; `where` begins each message. Keys are text.

    Raises:
        UserError: not YAML, a key given twice, an alias or a tag; all keys that are.
    """
    try:
        loader = _Loader(text)
        values = loader.get_single_data()
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split()).replace('in "<unicode string>", ', "in ")
        hint = "; indent by spaces, not by tabs" if r"'\t'" in reason else ""
        raise UserError(f"{where}: not YAML: {reason}{hint}") from error
    if loader.problems:
        raise UserError.from_problems(f"{where}: {problem}" for problem in loader.problems)
    return values


class _Loader(yaml.SafeLoader):
    """PyYAML's loader without surprises; `problems` are keys that are no text or given twice."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.problems: list[str] = []

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        line, tag = event.start_mark.line + 1, getattr(event, "tag", None)
        reason = f"{tag} is a tag; write the value without it" if tag else ""
        if isinstance(event, yaml.AliasEvent):
            reason = f"*{event.anchor} stands for values elsewhere; write them out"
        if reason:
            raise ValueError(f"line {line}: {reason}")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        values: dict[Hashable, Any] = {}
        lines: dict[str, int] = {}
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                self.problems.append(f"line {line}: a list or section as a key; expected a name")
            elif name in lines:
                self.problems.append(
                    f"{name}: given twice, in line {lines[name]} and in line {line}; keep one"
                )
            lines[name] = line
            values[name] = self.construct_object(value, deep=deep)
        return values


_Loader.yaml_implicit_resolvers = {}
for _kind, (_pattern, _first) in RESOLVED.items():
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_kind}", re.compile(f"(?:{_pattern})$"), [*_first, *[""] * (_kind == "null")]
    )
