"""The Python API: what `import volseg` gives, by the names that the package lists."""

import inspect
from collections.abc import Iterator

import volseg


def members() -> str:
    """An entry for each public name, from its docstring."""
    names = getattr(volseg, "__all__", ())
    return "\n\n".join(part for name in names for part in _member(name)) or (
        "This version has no Python API yet: use the commands."
    )


def _member(name: str) -> Iterator[str]:
    if name.startswith("_"):
        return
    value = getattr(volseg, name)
    kind = "class" if inspect.isclass(value) else "function" if callable(value) else "data"
    options = "\n   :members:" if kind == "class" else ""
    yield f"## {name}"
    yield f"```{{eval-rst}}\n.. auto{kind}:: volseg.{name}{options}\n```"
