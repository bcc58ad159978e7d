"""Strides from level to level of a network and their product, and the kernels of each level."""

from collections.abc import Sequence
from math import prod
from typing import Annotated, Literal

from pydantic import Field

Stride = tuple[int, int, int]
_Step = Annotated[int, Field(ge=1, le=4)]
Strides = tuple[_Step | tuple[_Step, _Step, _Step], ...] | None
"""The stride of each level below the first: a number, or one for each axis; None is 2 everywhere."""
_Kernel = Literal[1, 3, 5, 7]
Kernels = tuple[_Kernel | tuple[_Kernel, _Kernel, _Kernel], ...] | None
"""The voxels of the kernels of each level, finest first: a number, or one for each axis; None is 3."""
Dropout = Annotated[float, Field(ge=0, lt=1)]


def check_levels(strides: Strides, levels: int) -> None:
    """Raise a ValueError unless there is one stride for each level but the first."""
    if strides is not None and len(strides) != levels - 1:
        raise ValueError(f"strides: {levels} levels need {levels - 1} steps (got {len(strides)})")


def check_kernels(kernels: Kernels, levels: int) -> None:
    """Raise a ValueError unless there is one kernel for each level."""
    if kernels is not None and len(kernels) != levels:
        raise ValueError(f"kernels: {levels} levels need {levels} kernels (got {len(kernels)})")


def kernels_per_axis(kernels: Kernels, levels: int) -> tuple[Stride, ...]:
    """The voxels of the kernel along each axis at each level."""
    sizes = kernels or (3,) * levels
    return tuple((size, size, size) if isinstance(size, int) else size for size in sizes)


def strides_per_axis(strides: Strides, levels: int) -> tuple[Stride, ...]:
    """The stride of each axis at each level below the first."""
    steps = strides or (2,) * (levels - 1)
    return tuple((step, step, step) if isinstance(step, int) else step for step in steps)


def total_stride(steps: Sequence[Stride]) -> Stride:
    """The product of strides, axis by axis: the multiple that each axis of the input must have."""
    x, y, z = (prod(axis) for axis in zip(*steps, strict=True))
    return x, y, z
