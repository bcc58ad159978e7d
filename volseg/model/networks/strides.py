"""What networks have in common: steps from level to level, and the stride that they make."""

from typing import Annotated

from pydantic import Field

Stride = tuple[int, int, int]
_Step = Annotated[int, Field(ge=1, le=4)]
Strides = tuple[_Step | tuple[_Step, _Step, _Step], ...] | None
"""A step a level below the first: one number, or one for each axis; None: 2 everywhere."""
Dropout = Annotated[float, Field(ge=0, lt=1)]


def check_levels(strides: Strides, levels: int) -> None:
    """Refuse steps that are not one fewer than the levels.

    Raises:
        ValueError: their number doesn't fit.
    """
    if strides is not None and len(strides) != levels - 1:
        message = f"strides: {levels} levels need {levels - 1} steps (got {len(strides)})"
        raise ValueError(message)


def strides_per_axis(strides: Strides, levels: int) -> tuple[Stride, ...]:
    """The step of each axis at each level below the first."""
    steps = strides or (2,) * (levels - 1)
    return tuple((step, step, step) if isinstance(step, int) else step for step in steps)


def total_stride(steps: "tuple[Stride, ...] | list[Stride]") -> Stride:
    """The multiple of the input that all these steps together need."""
    x, y, z = 1, 1, 1
    for step in steps:
        x, y, z = x * step[0], y * step[1], z * step[2]
    return x, y, z
