"""The keys of a config, from its schema."""

import inspect
from collections.abc import Iterator, Mapping

from volseg.config import commented_yaml
from volseg.config.config import Config
from volseg.schema import Section
from volseg_pages import markdown
from volseg_pages.settings import Settings

COMPONENTS = {
    "network": "network",
    "loss": "loss",
    "optimizer": "optimizer",
    "postprocess": "step",
    "data.intensity": "intensity",
}
"""Keys that take components, and the kind they take; further keys are the component's."""
MEANINGS: Mapping[str, str] = getattr(commented_yaml, "MEANINGS", {})


def sections() -> str:
    """A part for each section of a config, with an entry a key."""
    return "\n\n".join(part for name in Config.model_fields for part in _section(name))


def _section(name: str) -> Iterator[str]:
    yield f"## {name}"
    if name in COMPONENTS:
        yield from _entry(Settings(Config), name, name)
        return
    model = Config.model_fields[name].annotation
    if not (inspect.isclass(model) and issubclass(model, Section)):
        raise TypeError(f"{name}: neither a section nor in COMPONENTS")
    yield markdown.paragraphs(inspect.getdoc(model) or "")
    settings = Settings(model)
    for key in settings.fields:
        yield from _entry(settings, key, f"{name}.{key}")


def _entry(settings: Settings, key: str, dotted: str) -> Iterator[str]:
    kind = COMPONENTS.get(dotted)
    field = settings.fields[key]
    default = settings.default_text(key)
    type_ = settings.type_text(key)
    told = _sentence(field.get("description") or MEANINGS.get(dotted, ""))
    if kind:
        type_ = f"list of {kind}s" if isinstance(field["default"], list) else kind
        told = f"{told} One of the components of the kind [{kind}](components.md#{kind}).".strip()
    if kind and isinstance(field["default"], list):
        default = f"[{', '.join(str(one['name']) for one in field['default'])}]"
    yield f":::{{confval}} {dotted}\n:type: {type_}\n:default: `{default}`\n\n{told}\n:::"


def _sentence(words: str) -> str:
    told = markdown.text(words[:1].upper() + words[1:])
    return told if not told or told.endswith(".") else f"{told}."
