"""What the page has computed on a mask: each operation takes the page's mask and returns a new one."""

from collections.abc import Callable, Mapping
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from volseg.data.mask_files import Mask
from volseg.postprocessing import DropSmall, KeepLargest, StepInput
from volseg.postprocessing.connected_components import fill_holes
from volseg.postprocessing.step_input import Bytes, min_level
from volseg.schema import explain_errors
from volseg.viewer.display_grid import SLICE_AXIS
from volseg.viewer.refusal import RefusedError
from volseg.viewer.shape_interpolation import fill_between

Spacing = tuple[float, float, float]
Axis = Annotated[Literal[0, 1, 2], BeforeValidator(int)]
Place = Annotated[int, Field(ge=0)]


class _Edit(BaseModel):
    """The settings of an operation, as they stand in the address."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class FillBetween(_Edit):
    """Fill the empty slices between drawn ones, all or those from `first` to `last`."""

    axis: Axis = SLICE_AXIS
    first: Place = 0
    last: Place | None = None

    def __call__(self, mask: Mask, spacing_mm: Spacing, _: Callable[[], Bytes]) -> Mask:
        """The new mask."""
        return fill_between(mask, spacing_mm, axis=self.axis, first=self.first, last=self.last)


class FillHoles(_Edit):
    """Fill holes of the volume, or with `axis` those of each slice across it."""

    axis: Axis | None = None

    def __call__(self, mask: Mask, _spacing_mm: Spacing, _: Callable[[], Bytes]) -> Mask:
        """The new mask."""
        if self.axis is None:
            return fill_holes(mask)
        return np.moveaxis(fill_holes(np.moveaxis(mask, self.axis, 2), in_slices=True), 2, self.axis)


class RemoveSmall(_Edit):
    """Remove parts smaller than `ml`."""

    ml: Annotated[float, Field(gt=0)]

    def __call__(self, mask: Mask, spacing_mm: Spacing, _: Callable[[], Bytes]) -> Mask:
        """The new mask."""
        return DropSmall(min_mm3=self.ml * 1000)(_step_input(mask, spacing_mm))


class KeepLargestPart(_Edit):
    """Keep the largest part, and others of the same size."""

    def __call__(self, mask: Mask, spacing_mm: Spacing, _: Callable[[], Bytes]) -> Mask:
        """The new mask."""
        return KeepLargest()(_step_input(mask, spacing_mm))


class CutProbability(_Edit):
    """Take slices `first` to `last` anew: where the probability is at least `threshold`, and above 0."""

    threshold: Annotated[float, Field(ge=0, le=1)]
    first: Place
    last: Place

    def __call__(self, mask: Mask, _spacing_mm: Spacing, probability: Callable[[], Bytes]) -> Mask:
        """The new mask."""
        cut = mask.copy(order="K")
        slices = slice(self.first, self.last + 1)
        least = np.uint8(max(1, min_level(self.threshold)))
        cut[..., slices] = probability()[..., slices] >= least
        return cut


EDITS: Mapping[str, type[FillBetween | FillHoles | RemoveSmall | KeepLargestPart | CutProbability]] = {
    "fill-between": FillBetween,
    "fill-holes": FillHoles,
    "remove-small": RemoveSmall,
    "keep-largest": KeepLargestPart,
    "threshold": CutProbability,
}


def read_edit(
    name: str, settings: Mapping[str, str]
) -> FillBetween | FillHoles | RemoveSmall | KeepLargestPart | CutProbability:
    """The operation of a name with its settings.

    Raises:
        RefusedError: no such operation, or settings that it can't have.
    """
    kind = EDITS.get(name)
    if kind is None:
        raise RefusedError(404, f"{name}: no such operation; there are {', '.join(EDITS)}")
    try:
        return kind.model_validate(dict(settings))
    except (ValidationError, ValueError) as error:
        told = explain_errors(error, kind) if isinstance(error, ValidationError) else [str(error)]
        raise RefusedError(400, f"{name}: {'; '.join(told)}") from error


def _step_input(mask: Mask, spacing_mm: Spacing) -> StepInput:
    """The input of a step that looks at the mask alone."""
    nothing = np.broadcast_to(np.uint8(0), mask.shape)
    return StepInput(mask, nothing, nothing, spacing_mm, SLICE_AXIS)
