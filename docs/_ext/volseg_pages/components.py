"""What a config can name: the components that `volseg options` lists, with their whole docstrings."""

import inspect
from collections.abc import Iterator

from volseg.components import KINDS
from volseg.schema import Section, union_members
from volseg_pages import markdown
from volseg_pages.settings import Settings

LEAD = {
    "network": "What is trained: `network` in a config.",
    "loss": "What training minimises: `loss` in a config.",
    "optimizer": "How weights are changed: `optimizer` in a config.",
    "intensity": "How grey values are scaled: `data.intensity` in a config.",
    "step": "How probabilities become masks: the list `postprocess` in a config, "
    "and a run's `postprocess.yaml`.",
    "layout": "How a raw dataset lies on disk: `volseg prepare --layout`.",
    "metric": "What `volseg evaluate` computes. [Metrics](metrics.md) tells more.",
    "engine": "What runs a trained network: `volseg infer --engine`.",
}


def kinds() -> str:
    """A part for each kind, and in it one for each component."""
    return "\n\n".join(part for kind in KINDS for part in _kind(kind))


def _kind(kind: str) -> Iterator[str]:
    yield f"## {kind}"
    yield LEAD.get(kind, "")
    for name, component in union_members(KINDS[kind]).items():
        yield f"### `{name}`"
        yield markdown.paragraphs(inspect.getdoc(component) or "")
        yield from _settings_table(component)


def _settings_table(component: type[Section]) -> Iterator[str]:
    settings = Settings(component)
    rows = [
        (
            markdown.code(key),
            settings.type_text(key),
            markdown.code(settings.default_text(key)),
            ", ".join(f"{value:g}" for value in component.model_fields[key].examples or ()),
        )
        for key in settings.fields
        if key != "name"
    ]
    header = ("setting", "type", "default", "worth trying")
    used = len(header) if any(row[-1] for row in rows) else len(header) - 1
    if rows:
        yield markdown.table(header[:used], (row[:used] for row in rows))
