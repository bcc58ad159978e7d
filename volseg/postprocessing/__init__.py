"""Cleaning: what turns the probability of one class of one scan into its mask, step by step.

A step looks at an `Evidence` and returns a new mask. It knows one class of one scan and nothing else.
Steps that start anew find the mask in the probability, so they belong first; others remove or fill.
Parts are 26-connected in 3D, so a mask that is joined over an edge or a corner is one part. Sizes are in
mm³, mm² and mm, never in voxels. `examples` of a setting are values worth trying.
"""

from typing import Annotated

from volseg.postprocessing.connected_components import Mask
from volseg.postprocessing.hole_filling import FillHoles, FillHolesInSlices
from volseg.postprocessing.pipeline import (
    Change,
    clean,
    disjoint,
    is_for,
    lowest,
    undone,
    unknown_classes,
)
from volseg.postprocessing.removal import (
    DropSmall,
    DropSmallInSlices,
    EmptyWeakSlices,
    KeepLargest,
    LimitToBody,
)
from volseg.postprocessing.step_input import Bytes, Evidence, at_least
from volseg.postprocessing.thresholding import Hysteresis, SmoothAcrossSlices, Threshold
from volseg.schema import Choice

__all__ = [
    "Bytes",
    "Change",
    "DropSmall",
    "DropSmallInSlices",
    "EmptyWeakSlices",
    "Evidence",
    "FillHoles",
    "FillHolesInSlices",
    "Hysteresis",
    "KeepLargest",
    "LimitToBody",
    "Mask",
    "SmoothAcrossSlices",
    "Step",
    "Threshold",
    "at_least",
    "clean",
    "disjoint",
    "is_for",
    "lowest",
    "undone",
    "unknown_classes",
]

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
    Choice(),
]
