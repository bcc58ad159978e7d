"""Steps in order on one class: the resulting mask, and the change by each step."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from volseg.errors import nearest_hint
from volseg.postprocessing.connected_components import Mask
from volseg.postprocessing.step_input import Bytes, StepInput
from volseg.postprocessing.thresholding import ThresholdingStep


class PostprocessingStep(Protocol):
    """A step of postprocessing."""

    @property
    def name(self) -> str:
        """The step's name in a config."""

    @property
    def only(self) -> tuple[str, ...]:
        """The classes that the step applies to; none: all."""

    def __call__(self, evidence: StepInput) -> Mask:
        """The new mask."""


@dataclass(frozen=True)
class StepChange:
    """Numbers of components before and after a step, and added and removed volume in ml, to 0.001 mm³."""

    step: str
    parts_before: int
    parts_after: int
    added_ml: float
    removed_ml: float

    @classmethod
    def between(cls, before: StepInput, after: StepInput, step: str) -> "StepChange":
        """The change from one mask to another of the same class and scan."""
        shared = int(np.count_nonzero(before.mask if after is before else before.mask & after.mask))
        added, removed = (
            round((int(side.components.sizes.sum()) - shared) * side.voxel_mm3 / 1000, 6)
            for side in (after, before)
        )
        return cls(step, before.components.count, after.components.count, added, removed)


def apply_steps(
    evidence: StepInput,
    steps: Sequence[PostprocessingStep],
    class_name: str,
    changes: list[StepChange] | None = None,
) -> Mask:
    """The mask after every step that applies to this class, in order; bool (X, Y, Z).

    The change by each step is appended to `changes`, if given; it costs some time.
    """
    for step in steps:
        if not applies_to(step, class_name):
            continue
        after = evidence.with_mask(step(evidence))
        if changes is not None:
            changes.append(StepChange.between(evidence, after, step.name))
        evidence = after
    return evidence.mask


def lowest_threshold(steps: Sequence[PostprocessingStep], class_name: str) -> float:
    """The least probability that a class's mask may reach: one half, or less by a thresholding step."""
    applicable = (step for step in steps if applies_to(step, class_name))
    return min(0.5, 0.5, *(s.lowest_probability for s in applicable if isinstance(s, ThresholdingStep)))


def unknown_classes(steps: Sequence[PostprocessingStep], classes: Sequence[str]) -> Iterator[str]:
    """A line for each class in a step's `only` that the data does not have."""
    for position, step in enumerate(steps):
        for name in step.only:
            if name not in classes:
                hint = nearest_hint(name, classes) or f" (classes: {', '.join(classes)})"
                yield f"postprocess.{position}.only: no class '{name}'{hint}"


def ineffective_steps(steps: Sequence[PostprocessingStep], classes: Sequence[str]) -> Iterator[str]:
    """A line for each step that does nothing, as for each of its classes a later step starts anew."""
    for position, step in enumerate(steps):
        later = [other for other in steps[position + 1 :] if isinstance(other, ThresholdingStep)]
        names = [name for name in classes if applies_to(step, name)]
        by = [next((other.name for other in later if applies_to(other, name)), "") for name in names]
        if by and all(by):
            yield (
                f"postprocess.{position}: {step.name} does nothing, as {by[0]} after it starts anew; "
                f"leave it out, or give {by[0]} first"
            )


def applies_to(step: PostprocessingStep, class_name: str) -> bool:
    """Whether a step applies to a class."""
    return not step.only or class_name in step.only


def resolve_overlaps(claims: Iterable[tuple[Bytes, Mask]], shape: Sequence[int]) -> Iterator[Mask]:
    """Masks of exclusive classes, from the 8-bit probability and the mask (X, Y, Z) of each.

    A voxel of several masks belongs to the class with the highest probability, of equals the first. So an
    organ in a filled hole of another is not lost. Memory does not grow with the number of classes.
    """
    owner = np.zeros(shape, np.uint16)
    strongest = np.zeros(shape, np.uint8)
    count = 0
    for count, (probability, mask) in enumerate(claims, start=1):
        won = mask & ((owner == 0) | (probability > strongest))
        owner[won] = count
        strongest[won] = probability[won]
    for number in range(1, count + 1):
        yield owner == number
