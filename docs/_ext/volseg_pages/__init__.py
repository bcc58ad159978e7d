"""Reference pages made from the code itself, each time the site is built.

A page of `CONTENT` is Markdown with calls in double braces, which are replaced by what they return:
what a component or a key is stands in one place, the code. Each command gets a page of its own.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, StrictUndefined

from volseg_pages import commands, components, config_keys, file_fields, findings, metrics, python_api

if TYPE_CHECKING:
    from sphinx.application import Sphinx

CONTENT = {
    "reference/commands": {"command_table": commands.command_table},
    "reference/config": {"sections": config_keys.sections},
    "reference/components": {"kinds": components.kinds},
    "reference/files": {"fields": file_fields.fields},
    "reference/findings": {"kinds": findings.kinds},
    "reference/metrics": {"metric_table": metrics.metric_table, "empty_mask_table": metrics.empty_mask_table},
    "reference/python": {"members": python_api.members},
}
"""Pages by name, and the functions they may call."""


def setup(app: "Sphinx") -> dict[str, Any]:
    """Sphinx's hook."""
    app.connect("config-inited", _write_command_pages)
    app.connect("source-read", _fill_in)
    app.connect("env-get-outdated", _always_outdated)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _write_command_pages(app: "Sphinx", _config: object) -> None:
    folder = Path(app.srcdir) / "reference" / "commands"
    folder.mkdir(exist_ok=True)
    pages = {folder / f"{name}.md": commands.page(name) for name in commands.names()}
    for path in {*folder.iterdir()} - {*pages}:
        path.unlink()
    for path, text in pages.items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _fill_in(_app: "Sphinx", name: str, source: list[str]) -> None:
    if name in CONTENT:
        template = Environment(undefined=StrictUndefined, autoescape=False).from_string(source[0])  # noqa: S701 - Markdown
        source[0] = template.render(CONTENT[name])


def _always_outdated(_app: "Sphinx", *_changes: object) -> Iterable[str]:
    """The pages whose text lies in the code, which Sphinx does not watch."""
    return CONTENT
