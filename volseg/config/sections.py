"""What a run's config says about its data: which scans, on which grid, and how they are varied."""

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from volseg.data.preprocessing.intensity_scaling import Intensity, Percentiles
from volseg.model.engines.interface import Precision
from volseg.schema import Section, Share, Size, Spacing

Degrees = Annotated[float, Field(ge=0, le=180)]


class Data(Section):
    """Which scans are trained on and how they are brought to the network's grid.

    `below_cut`: contouring stops at a lower slice though the organs go on; slices below the last
    labelled one count as background (as the competition scores them) or are ignored by the loss.
    `cache`: where scans are kept between patches: in memory, or in files under the dataset's folder
    that all processes share and later runs find again; "auto" goes by the memory that is free.
    """

    spacing_mm: Spacing | None = None
    intensity: Intensity = Percentiles()
    below_cut: Literal["background", "ignore"] = "background"
    cache: Literal["auto", "memory", "disk"] = "auto"
    split: Literal["folds", "none"] = "folds"
    hold_out: tuple[str, ...] = ()


class Augment(Section):
    """How strongly training patches are varied; 0 or an empty list leaves a kind out.

    `rotate_degrees` is about the slices' axis z, or three numbers about x, y and z; `scale` a zoom
    along each axis; `elastic_mm` the standard deviation of a smooth displacement; each has the
    probability `spatial_probability`. Grey values are 0 to 1: `gamma` g raises them to a power of
    exp(-g) to exp(g), `blur` is the largest Gaussian sigma in voxels, `low_resolution` 1 plays
    voxels of up to twice the width, `noise` is the largest standard deviation; each has the
    probability `intensity_probability`.
    """

    flip: tuple[Literal["x", "y", "z"], ...] = ()
    rotate_degrees: Degrees | tuple[Degrees, Degrees, Degrees] = 15.0
    scale: float = Field(default=0.1, ge=0, lt=0.9)
    elastic_mm: NonNegativeFloat = 0.0
    spatial_probability: Share = 0.5
    gamma: float = Field(default=0.0, ge=0, le=3)
    blur: float = Field(default=0.0, ge=0, le=10)
    low_resolution: float = Field(default=0.0, ge=0, le=10)
    contrast: float = Field(default=0.1, ge=0, lt=1)
    brightness: NonNegativeFloat = 0.1
    noise: NonNegativeFloat = 0.02
    intensity_probability: Share = 0.3

    @property
    def degrees(self) -> tuple[float, float, float]:
        """The largest rotation about x, y and z."""
        about = self.rotate_degrees
        return about if isinstance(about, tuple) else (0.0, 0.0, about)


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
    def _check_accumulate(self) -> Self:
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
