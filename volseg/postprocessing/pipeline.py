"""Steps in order, on one class: the mask that they leave, and what each of them changed."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from volseg.errors import nearest_hint
from volseg.postprocessing.connected_components import Mask
from volseg.postprocessing.step_input import Bytes, StepInput
from volseg.postprocessing.thresholding import ThresholdingStep


class PostprocessingStep(Protocol):
    """What every step is: its name, the classes that it is for (none: all), and its one verb."""

    @property
    def name(self) -> str:
        """Its name in a config."""

    @property
    def only(self) -> tuple[str, ...]:
        """The classes that it is for."""

    def __call__(self, evidence: StepInput) -> Mask:
        """The new mask."""


@dataclass(frozen=True)
class StepChange:
    """What one step changed: how many 26-connected parts there were and are, what was added and removed.

    Volumes are in ml, to the nearest 0.001 mm³.
    """

    step: str
    parts_before: int
    parts_after: int
    added_ml: float
    removed_ml: float

    @classmethod
    def between(cls, before: StepInput, after: StepInput, step: str) -> "StepChange":
        """The change from one mask to another of the same class and scan."""
        kept = before.mask if after is before else before.mask & after.mask
        shared = int(np.count_nonzero(kept))
        added, removed = (
            round((int(one.components.sizes.sum()) - shared) * one.voxel_mm3 / 1000, 6)
            for one in (after, before)
        )
        return cls(step, before.components.count, after.components.count, added, removed)


def apply_steps(
    evidence: StepInput,
    steps: Sequence[PostprocessingStep],
    class_name: str,
    changes: list[StepChange] | None = None,
) -> Mask:
    """The mask after every step that applies to this class, in order; bool (X, Y, Z).

    What each of these steps changed is added to `changes` if there is such a list; it costs some time.
    """
    for step in _applicable_steps(steps, class_name):
        after = evidence.with_mask(step(evidence))
        if changes is not None:
            changes.append(StepChange.between(evidence, after, step.name))
        evidence = after
    return evidence.mask


def lowest_threshold(steps: Sequence[PostprocessingStep], class_name: str) -> float:
    """The least probability at which a step looks for a class's mask; at most one half, where masks start."""
    starting = (step for step in _applicable_steps(steps, class_name) if isinstance(step, ThresholdingStep))
    return min([0.5, *(step.lowest_probability for step in starting)])


def unknown_classes(steps: Sequence[PostprocessingStep], classes: Sequence[str]) -> Iterator[str]:
    """One line for each class named in `only` that the data does not have: such a step would do nothing."""
    for position, step in enumerate(steps):
        for name in step.only:
            if name not in classes:
                hint = nearest_hint(name, classes) or f" (classes: {', '.join(classes)})"
                yield f"postprocess.{position}.only: no class '{name}'{hint}"


def ineffective_steps(steps: Sequence[PostprocessingStep], classes: Sequence[str]) -> Iterator[str]:
    """One line for each step that does nothing, as for each of its classes a later one starts anew."""
    for position, step in enumerate(steps):
        later = [one for one in steps[position + 1 :] if isinstance(one, ThresholdingStep)]
        names = [name for name in classes if applies_to(step, name)]
        by = [next((one.name for one in later if applies_to(one, name)), "") for name in names]
        if by and all(by):
            yield (
                f"postprocess.{position}: {step.name} does nothing, as {by[0]} after it starts anew; "
                f"leave it out, or give {by[0]} first"
            )


def _applicable_steps(steps: Sequence[PostprocessingStep], class_name: str) -> Iterator[PostprocessingStep]:
    return (step for step in steps if applies_to(step, class_name))


def applies_to(step: PostprocessingStep, class_name: str) -> bool:
    """Whether a step applies to a class."""
    return not step.only or class_name in step.only


def resolve_overlaps(claims: Iterable[tuple[Bytes, Mask]], shape: Sequence[int]) -> Iterator[Mask]:
    """Masks of exclusive classes, from each one's 8-bit probability and cleaned mask, (X, Y, Z).

    Where several masks claim a voxel, the class with the highest probability has it, of equals the
    first. So an organ that lies in a hole of another is not lost when the hole is filled. Memory
    does not grow with the number of classes.
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
