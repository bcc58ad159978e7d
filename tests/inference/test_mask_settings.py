"""Masks are made again when a setting that they may depend on is another."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests import tiny
from volseg.config.config import Config
from volseg.data.preprocessing.intensity_scaling import Intensity
from volseg.inference.run_settings import mask_settings
from volseg.model.networks import Network
from volseg.postprocessing import Step
from volseg.runs.run import Run
from volseg.runs.run_files import RunSplits
from volseg.schema import Section, union_members

BASE = tiny.config()
FACTS = RunSplits(dataset="d", classes=tiny.CLASSES, exclusive=False, channels=("mr",), fold=0, train=("a",))
pytestmark = pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # of values made up here


class RunWithoutWeights(Run):
    network_identity = "weights"


def key(config: Config) -> str:
    return json.dumps(mask_settings(RunWithoutWeights(Path(), config, FACTS), "kind"))


def another(value: Any) -> Any:
    """A value that differs from this one, whether the field would take it or not."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, tuple):
        return (*value, *value) or ("x",)
    return f"{value}, but another"


def one_of_each(union: Any) -> list[Section]:
    """A section of each kind, with a number for each field that has no default."""
    kinds = union_members(union).values()
    needed = [[name for name, field in kind.model_fields.items() if field.is_required()] for kind in kinds]
    return [
        kind(**{name: float(n) for n, name in enumerate(names, start=1)})
        for kind, names in zip(kinds, needed, strict=True)
    ]


def changed_fields(section: Section) -> dict[str, Section]:
    """The section with each of its fields changed by itself."""
    fields = {name: getattr(section, name) for name in type(section).model_fields if name != "name"}
    return {name: section.model_copy(update={name: another(value)}) for name, value in fields.items()}


def configs_with(where: str, section: Section) -> list[tuple[str, Config, Config]]:
    """For each field of a section the configs before and after its change."""
    place = {
        "intensity": lambda one: {"data": BASE.data.model_copy(update={"intensity": one})},
        "postprocess": lambda one: {"postprocess": (one,)},
    }.get(where, lambda one: {where: one})
    before = BASE.model_copy(update=place(section))
    return [
        (f"{where}.{type(section).__name__}.{name}", before, BASE.model_copy(update=place(changed)))
        for name, changed in changed_fields(section).items()
    ]


SECTIONS: list[tuple[str, Section]] = [
    ("data", BASE.data),
    ("inference", BASE.inference),
    *(("intensity", one) for one in one_of_each(Intensity)),
    *(("network", one) for one in one_of_each(Network)),
    *(("postprocess", one) for one in one_of_each(Step)),
]
CASES = [case for where, section in SECTIONS for case in configs_with(where, section)]


@pytest.mark.parametrize(("before", "after"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_each_setting_by_itself_makes_other_masks(
    before: Config, after: Config, request: pytest.FixtureRequest
) -> None:
    elsewhere = {"inference.Inference.batch", "inference.Inference.gate"}
    """Windows in work, which change no mask; and another run, which the ensemble tells where it is asked."""

    assert (key(before) == key(after)) == (request.node.callspec.id in elsewhere)


def test_steps_in_another_order_make_other_masks() -> None:
    steps = tuple(one_of_each(Step))
    orders = [BASE.model_copy(update={"postprocess": order}) for order in (steps, steps[::-1], steps[:-1])]

    assert len(set(map(key, orders))) == 3


@pytest.mark.parametrize("facts", [{"exclusive": True}, {"classes": ("a", "b")}])
def test_other_classes_are_other_masks(facts: dict[str, Any]) -> None:
    other = RunWithoutWeights(Path(), BASE, FACTS.model_copy(update=facts))

    assert json.dumps(mask_settings(other, "kind")) != key(BASE)
