"""The Python API: what `import volseg` gives, by the names that the package lists."""

import inspect
from collections.abc import Callable, Iterator

import volseg


def members() -> str:
    """An entry for each public name, from its docstring: functions, then classes."""
    names = [name for name in getattr(volseg, "__all__", ()) if not name.startswith("_")]
    parts = [*_section("Functions", names, inspect.isfunction), *_section("Classes", names, inspect.isclass)]
    return "\n\n".join(parts) or "This version has no Python API yet: use the commands."


def _section(title: str, names: list[str], wanted: Callable[[object], bool]) -> Iterator[str]:
    found = [name for name in names if wanted(getattr(volseg, name))]
    if found:
        yield f"## {title}"
    for name in found:
        kind = "autofunction" if title == "Functions" else "autoclass"
        members = "" if kind == "autofunction" else "\n   :members:"
        yield f"```{{eval-rst}}\n.. {kind}:: volseg.{name}{members}\n```"
