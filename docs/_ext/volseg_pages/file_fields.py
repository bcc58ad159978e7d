"""The fields of JSON files, from the classes that write and read them."""

import inspect
from importlib import import_module

from volseg_pages import markdown
from volseg_pages.settings import Settings


def fields(*places: str) -> str:
    """Docstring and table of fields of each class, named like `volseg.data.dataset.Sample`."""
    return "\n\n".join(part for place in places for part in _class(place))


def _class(place: str) -> tuple[str, str, str]:
    module, _, name = place.rpartition(".")
    model = getattr(import_module(module), name)
    settings = Settings(model)
    rows = ((markdown.code(key), _type(settings, key)) for key in settings.fields)
    return (
        f"**{name}**",
        markdown.paragraphs(inspect.getdoc(model) or ""),
        markdown.table(("key", "type"), rows),
    )


def _type(settings: Settings, key: str) -> str:
    told = settings.type_text(key)
    return told if key in settings.required else f"{told}, may be left out"
