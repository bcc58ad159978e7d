"""`volseg options`: what a config can hold, and the components that it and commands can name."""

import inspect
from collections.abc import Iterator

from pydantic.fields import FieldInfo

from volseg.config.commented_yaml import MEANINGS, flow_style
from volseg.config.sections import Augment, Data, Inference, Train
from volseg.data.layouts import Layout
from volseg.data.preprocessing.intensity_scaling import Intensity
from volseg.errors import UserError, nearest_hint
from volseg.formatting import format_setting
from volseg.metrics import Metric
from volseg.model.engines import Engine
from volseg.model.losses import Loss
from volseg.model.networks import Network
from volseg.model.optimizers import OptimizerChoice
from volseg.plugins import PluginError
from volseg.postprocessing import Step
from volseg.schema import Section, union_members, union_plugins

SECTIONS: dict[str, type[Section]] = {
    "data": Data,
    "augment": Augment,
    "train": Train,
    "inference": Inference,
}
"""Parts of a config that are no components: settings only."""
KINDS = {
    "network": Network,
    "loss": Loss,
    "optimizer": OptimizerChoice,
    "intensity": Intensity,
    "step": Step,
    "layout": Layout,
    "metric": Metric,
    "engine": Engine,
}


def option_lines(kind: str | None = None) -> Iterator[str]:
    """Lines with the settings of each section and component of a kind (None: of all kinds).

    Raises:
        UserError: an unknown kind.
    """
    known = [*SECTIONS, *KINDS]
    if kind is not None and kind not in known:
        raise UserError(f"{kind}: no such kind{nearest_hint(kind, known)} (known: {', '.join(known)})")
    for one in [kind] if kind else known:
        yield f"{one}:"
        yield from _section_lines(one) if one in SECTIONS else _component_lines(one)


def _section_lines(name: str) -> Iterator[str]:
    for key, field in SECTIONS[name].model_fields.items():
        meaning = MEANINGS.get(f"{name}.{key}")
        yield f"  {key} = {_default_value(field)}{f'  # {meaning}' if meaning else ''}"


def _component_lines(kind: str) -> Iterator[str]:
    """The components of volseg, then those of other packages with their names."""
    for name, component in union_members(KINDS[kind]).items():
        yield f"  {name}: {_summary(component)}"
        yield from _setting_lines(component)
    for plugin, found in union_plugins(KINDS[kind]):
        if isinstance(found, PluginError):
            yield f"  {found}"
            continue
        yield f"  {plugin.name} ({plugin}): {_summary(found)}"
        yield from _setting_lines(found)


def _summary(component: type[Section]) -> str:
    return next(iter((inspect.getdoc(component) or "").splitlines()), "")


def _setting_lines(component: type[Section]) -> Iterator[str]:
    for key, field in component.model_fields.items():
        if key != "name":
            yield f"      {key} = {_default_value(field)}{_suggested_values(field)}"


def _default_value(field: FieldInfo) -> str:
    """A default as it would stand in a config."""
    if field.is_required():
        return "(required)"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Section):  # a component, which is listed below its kind
        return str(getattr(value, "name", value))
    return flow_style(list(value) if isinstance(value, tuple) else value)


def _suggested_values(field: FieldInfo) -> str:
    values = ", ".join(map(format_setting, field.examples or []))
    return f" (worth trying: {values})" if values else ""
