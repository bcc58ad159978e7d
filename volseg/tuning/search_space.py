"""The search space of one class's post-processing: dimensions, each with the settings of its step.

A dimension is one kind of step; but all thresholding steps, which make a mask of probabilities, share
the first: only one of them can count. The settings to try are the `examples` of the step's fields.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import cast

from pydantic import ValidationError

from volseg.formatting import format_setting
from volseg.postprocessing import Step, Threshold, applies_to
from volseg.postprocessing.thresholding import ThresholdingStep
from volseg.schema import Section, union_members, usable_plugins

Pipeline = tuple[Step, ...]
"""The steps of one class, none of which has `only`; the first is a thresholding step."""
START, NONE = "start", "none"


@dataclass(frozen=True)
class SearchDimension:
    """A place in a pipeline, and the steps that may stand there."""

    name: str
    settings: tuple[Step, ...]

    def step_in(self, pipeline: Pipeline) -> Step | None:
        """The pipeline's step of this dimension."""
        return next((step for step in pipeline if _dimension_name(step) == self.name), None)

    def with_step(self, pipeline: Pipeline, step: Step | None) -> Pipeline:
        """The pipeline with another step of this dimension, or with none.

        A step takes the place of the old one; a new one goes before the first that belongs after it.
        """
        if self.step_in(pipeline) is not None:
            changed = (step if _dimension_name(old) == self.name else old for old in pipeline)
            return tuple(one for one in changed if one is not None)
        if step is None:
            return pipeline
        later = (n for n, one in enumerate(pipeline) if RANKS[_dimension_name(one)] > RANKS[self.name])
        position = next(later, len(pipeline))
        return (*pipeline[:position], step, *pipeline[position:])

    def choices(self, pipeline: Pipeline) -> tuple[Pipeline, ...]:
        """The pipeline as it is, then with every other setting; but for the first dimension, with none."""
        steps = self.settings if self.name == START else (None, *self.settings)
        return tuple(dict.fromkeys([pipeline, *(self.with_step(pipeline, step) for step in steps)]))


def class_pipeline(steps: Sequence[Step], class_name: str) -> Pipeline:
    """The steps that count for one class, from its last thresholding step on, without `only`.

    Without one, the threshold of one half is put first. Of several steps of one kind, each counts.
    """
    own = [one.model_copy(update={"only": ()}) for one in steps if applies_to(one, class_name)]
    starts = [number for number, step in enumerate(own) if isinstance(step, ThresholdingStep)]
    return tuple(own[starts[-1] :]) if starts else (Threshold(value=0.5), *own)


def merge_pipelines(pipelines: dict[str, Pipeline]) -> tuple[Step, ...]:
    """The steps of all classes in one list: classes with the same pipeline share its steps."""
    classes: dict[Pipeline, list[str]] = {}
    for name, pipeline in pipelines.items():
        classes.setdefault(pipeline, []).append(name)
    if len(classes) == 1:
        return next(iter(classes))
    return tuple(
        step.model_copy(update={"only": tuple(names)})
        for pipeline, names in classes.items()
        for step in pipeline
    )


def format_step(step: Step | None) -> str:
    """`drop_small min_mm3=500`, or `none`."""
    if step is None:
        return NONE
    settings = step.model_dump(exclude={"name", "only"})
    return " ".join([step.name, *(f"{key}={format_setting(value)}" for key, value in settings.items())])


def _dimension_name(step: Step) -> str:
    return _dimension_of(type(step))


def _dimension_of(kind: type[Section]) -> str:
    return START if issubclass(kind, ThresholdingStep) else str(kind.model_fields["name"].default)


def _example_steps(kind: type[Section]) -> Iterator[Step]:
    """A step with each allowed combination of its fields' examples; the default step if it has none."""
    examples = {key: field.examples for key, field in kind.model_fields.items() if field.examples}
    for values in product(*examples.values()):
        try:
            yield cast("Step", kind(**dict(zip(examples, values, strict=True))))
        except ValidationError:  # such as a low that is not below the high
            continue


_KINDS = (*union_members(Step).values(), *(kind for _, kind in usable_plugins(Step)))
_EXAMPLES = [step for kind in _KINDS for step in _example_steps(kind)]
RANKS = {name: rank for rank, name in enumerate(dict.fromkeys(map(_dimension_of, _KINDS)))}
SEARCH_DIMENSIONS = tuple(
    SearchDimension(name, settings)
    for name in RANKS
    if (settings := tuple(step for step in _EXAMPLES if _dimension_name(step) == name))
)
"""All dimensions with something to try, in the order of the search."""
