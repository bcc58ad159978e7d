"""`volseg options`: the components that a config can name, with their settings and defaults."""

import inspect
from collections.abc import Iterator
from typing import Any

from pydantic.fields import FieldInfo

from volseg.data.layouts import Layout
from volseg.data.preprocessing.intensity_scaling import Intensity
from volseg.errors import UserError, nearest_hint
from volseg.metrics import Metric
from volseg.model.losses import Loss
from volseg.model.networks import Network
from volseg.model.optimizers import OptimizerChoice
from volseg.postprocessing import Step
from volseg.schema import union_members

KINDS = {
    "network": Network,
    "loss": Loss,
    "optimizer": OptimizerChoice,
    "intensity": Intensity,
    "step": Step,
    "layout": Layout,
    "metric": Metric,
}


def component_lines(kind: str | None = None) -> Iterator[str]:
    """Lines with the name, summary and settings of each component of a kind (None: of all kinds).

    Raises:
        UserError: an unknown kind.
    """
    if kind is not None and kind not in KINDS:
        raise UserError(f"{kind}: no such kind{nearest_hint(kind, KINDS)} (known: {', '.join(KINDS)})")
    for known in [kind] if kind else KINDS:
        yield f"{known}:"
        for name, component in union_members(KINDS[known]).items():
            summary = (inspect.getdoc(component) or "").splitlines()[0]
            yield f"  {name}: {summary}"
            for key, field in component.model_fields.items():
                if key != "name":
                    yield f"      {key} = {_default_value(field)}{_suggested_values(field)}"


def _default_value(field: FieldInfo) -> Any:
    if field.is_required():
        return "(required)"
    value = field.get_default(call_default_factory=True)
    return list(value) if isinstance(value, tuple) else value


def _suggested_values(field: FieldInfo) -> str:
    values = ", ".join(f"{value:g}" for value in field.examples or [])
    return f" (worth trying: {values})" if values else ""
