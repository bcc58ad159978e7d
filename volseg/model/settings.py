"""What a run's config says about training and about the sliding window."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from volseg.data.settings import Share
from volseg.schema import Section

Size = tuple[PositiveInt, PositiveInt, PositiveInt]
Precision = Literal["auto", "fp32", "bf16", "fp16"]


class Train(Section):
    """The course of training. An epoch is `epoch_steps` steps: then come validation and a checkpoint.

    `patch` is in voxels (X, Y, Z); `foreground` the share of patches centred on an organ; `clip`
    the largest norm of the gradient; `workers` the processes that cut patches (default: by cores).
    """

    patch: Size = (96, 96, 96)
    batch: PositiveInt = 2
    steps: PositiveInt = 10_000
    epoch_steps: PositiveInt = 250
    foreground: Share = 0.67
    clip: PositiveFloat = 12.0
    precision: Precision = "auto"
    seed: int = Field(default=0, ge=0)
    workers: Annotated[int, Field(ge=0)] | None = None


class Inference(Section):
    """The sliding window; `window` in voxels (X, Y, Z), by default the training patch."""

    window: Size | None = None
    overlap: float = Field(default=0.5, ge=0, lt=0.95)
    batch: PositiveInt = 2
