"""What a run's config says about training and about the sliding window."""

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from volseg.config.sections import Share
from volseg.schema import Section

Size = tuple[PositiveInt, PositiveInt, PositiveInt]
Precision = Literal["auto", "fp32", "bf16", "fp16"]


class Train(Section):
    """The course of training. An epoch is `epoch_steps` steps: then come validation and a checkpoint.

    `patch` is in voxels (X, Y, Z); `foreground` the share of patches centred on an organ. `accumulate`
    takes the batch in so many parts, which need less memory. `clip` is the largest norm of the
    gradient; `ema` the decay of the moving average of the weights, which is what is validated and
    kept (0: none). Training stops early after `patience` epochs without a better score (none: never).
    `checkpoint_minutes` is how often an epoch saves its state; `workers` the processes that cut
    patches (by default one a core but one for a GPU, none on a CPU).
    """

    patch: Size = (96, 96, 96)
    batch: PositiveInt = 2
    steps: PositiveInt = 10_000
    epoch_steps: PositiveInt = 250
    foreground: Share = 0.67
    accumulate: PositiveInt = 1
    clip: PositiveFloat = 12.0
    ema: float = Field(default=0.99, ge=0, lt=1)
    patience: PositiveInt | None = None
    checkpoint_minutes: PositiveFloat = 5.0
    precision: Precision = "auto"
    seed: int = Field(default=0, ge=0)
    workers: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _whole_parts(self) -> Self:
        if self.batch % self.accumulate:
            message = f"accumulate: {self.accumulate} does not divide the batch of {self.batch}"
            raise ValueError(message)
        return self


class Inference(Section):
    """The sliding window; `window` in voxels (X, Y, Z), by default the training patch.

    Windows overlap by at least this share and cover the body, not the air around it; without `body_box`
    they cover the whole scan, placed and weighted as by MONAI's sliding window.
    The mean is taken over all mirrored views along the axes `flips`: two, four or eight. `batch`
    windows are in work at a time (by default as many as suit the engine).
    """

    window: Size | None = None
    overlap: float = Field(default=0.5, ge=0, lt=0.95)
    body_box: bool = True
    flips: tuple[Literal["x", "y", "z"], ...] = ()
    batch: PositiveInt | None = None
