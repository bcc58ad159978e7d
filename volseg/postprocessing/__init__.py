"""Postprocessing: steps from the probability of one class of one scan to its mask.

A step takes a `StepInput`, of one class of one scan, and returns a new mask. Thresholding steps find the mask
anew in the probability, so they belong first; others remove or fill. Components are 26-connected in 3D. Sizes
are in mm³, mm² and mm. `examples` of a setting are values worth trying.
"""

from typing import Annotated

from volseg.postprocessing.connected_components import Mask
from volseg.postprocessing.hole_filling import FillHoles, FillHolesInSlices
from volseg.postprocessing.pipeline import (
    StepChange,
    applies_to,
    apply_steps,
    ineffective_steps,
    lowest_threshold,
    resolve_overlaps,
    unknown_classes,
)
from volseg.postprocessing.removal import (
    DropSmall,
    DropSmallInSlices,
    EmptyWeakSlices,
    KeepLargest,
    LimitToBody,
)
from volseg.postprocessing.step_input import Bytes, StepInput, at_least
from volseg.postprocessing.thresholding import Hysteresis, SmoothAcrossSlices, Threshold
from volseg.schema import NamedUnion

__all__ = [
    "Bytes", "DropSmall", "DropSmallInSlices", "EmptyWeakSlices", "FillHoles", "FillHolesInSlices",
    "Hysteresis", "KeepLargest", "LimitToBody", "Mask", "SmoothAcrossSlices", "Step", "StepChange",
    "StepInput", "Threshold", "applies_to", "apply_steps", "at_least", "ineffective_steps",
    "lowest_threshold", "resolve_overlaps", "unknown_classes",
]  # fmt: skip

Step = Annotated[
    Threshold
    | Hysteresis
    | SmoothAcrossSlices
    | DropSmall
    | DropSmallInSlices
    | KeepLargest
    | EmptyWeakSlices
    | LimitToBody
    | FillHoles
    | FillHolesInSlices,
    NamedUnion("volseg.steps", needs=("only", "__call__")),
]
