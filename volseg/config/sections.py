"""The sections of a config for data, augmentation, training and inference."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from volseg.data.preprocessing.intensity_scaling import Intensity, Percentiles
from volseg.model.engines.interface import Precision
from volseg.schema import Section, Share, Size, Spacing

SelectName = Literal["dice", "kaggle", "surface_dice"]
"""What can choose the best weights."""
Degrees = Annotated[float, Field(ge=0, le=180)]
Zoom = Annotated[float, Field(ge=0, lt=0.9)]


class Data(Section):
    """The scans of a run, the network's grid and the scaling of intensities.

    `below_cut`: contouring stops at a lower slice though the organs go on; slices below the last
    labelled one count as background (as the competition scores them) or are ignored by the loss.
    `cache`: scans are kept in memory, or in files under the dataset's folder that all processes share
    and later runs use again; "auto" goes by the free memory.
    """

    spacing_mm: Spacing | None = None
    intensity: Intensity = Percentiles()
    below_cut: Literal["background", "ignore"] = "background"
    cache: Literal["auto", "memory", "disk"] = "auto"
    split: Literal["folds", "none"] = "folds"
    hold_out: tuple[str, ...] = ()


class Augment(Section):
    """The strength of each augmentation of training patches; 0 or an empty list leaves it out.

    `rotate_degrees` is about the slices' axis z, or three numbers about x, y and z; `scale` a zoom
    along each axis, or three numbers along x, y and z; `elastic_mm` the standard deviation of a smooth
    displacement; each has the probability `spatial_probability`. Grey values are 0 to 1:
    `class_contrast` c multiplies those of each class by exp(-c) to exp(c), each class by itself; `blobs`
    paints up to three ellipsoids of one grey value each beside the classes, with radii of up to this share of
    the patch; `gamma` g raises them to a power of exp(-g) to exp(g), `blur` is the largest Gaussian sigma in
    voxels, `low_resolution` 1 simulates voxels of up to twice the width, `noise` is the largest standard
    deviation; each has the probability `intensity_probability`.
    """

    flip: tuple[Literal["x", "y", "z"], ...] = ()
    rotate_degrees: Degrees | tuple[Degrees, Degrees, Degrees] = 15.0
    scale: Zoom | tuple[Zoom, Zoom, Zoom] = 0.1
    elastic_mm: NonNegativeFloat = 0.0
    spatial_probability: Share = 0.5
    class_contrast: float = Field(default=0.0, ge=0, le=3)
    blobs: float = Field(default=0.0, ge=0, le=1)
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

    @property
    def zooms(self) -> tuple[float, float, float]:
        """The largest zoom along x, y and z."""
        return self.scale if isinstance(self.scale, tuple) else (self.scale,) * 3


class Train(Section):
    """The schedule of training: epochs of `epoch_steps` steps, then validation and a checkpoint.

    Without a number, validation comes as often as takes 15 % of the time at most. That has no influence on
    the weights at a step, only on which step's are kept.
    `patch` is in voxels (X, Y, Z); `foreground` the share of patches centred on a class. The gradient of
    a batch is accumulated over `accumulate` parts, which need less memory; `clip` is its largest norm.
    `ema` is the decay of the moving average of the weights, which is validated and kept (0: none).
    `compile` has torch compile the network first, for steps on a GPU.
    `select` is the score of whole validation scans that chooses the weights that are kept: mean Dice, the
    competition's score (0.4 Dice by slice + 0.6 (1 - normalised Hausdorff distance), in which a class that is
    hardly met in a scan counts as missed) or mean surface Dice at 2 mm.
    `teacher` is a folder of probability maps by `volseg infer --save-probabilities`, which a network learns
    from with the share `teacher_weight` of the loss, a soft cross-entropy (Hinton et al. 2015); the rest is
    the labels'. Where there are no labels, in scans of the dataset that have maps only and where `below_cut`
    ignores them, the teacher has the whole loss. Maps of training scans must be out of fold. With the
    weight 0 there is no teacher.
    Training stops early after `patience` validations without a better score (none: never). An epoch saves its
    state every `checkpoint_minutes`; `workers` threads prepare patches for the device (by default two to four
    for a GPU; none on a CPU, where patches are cut between steps).
    """

    patch: Size = (96, 96, 96)
    batch: PositiveInt = 2
    steps: PositiveInt = 10_000
    epoch_steps: PositiveInt | None = None
    foreground: Share = 0.67
    accumulate: PositiveInt = 1
    clip: PositiveFloat = 12.0
    ema: float = Field(default=0.99, ge=0, lt=1)
    teacher: Path | None = None
    teacher_weight: Share = 0.5
    select: SelectName = "dice"
    patience: PositiveInt | None = None
    checkpoint_minutes: PositiveFloat = 5.0
    precision: Precision = "auto"
    compile: bool = False
    seed: int = Field(default=0, ge=0)
    workers: Annotated[int, Field(ge=0)] | None = None

    @property
    def active_teacher(self) -> Path | None:
        """The teacher's folder; None if it has no weight."""
        return self.teacher if self.teacher_weight else None

    @model_validator(mode="after")
    def _check_accumulate(self) -> Self:
        if self.batch % self.accumulate:
            message = f"accumulate: {self.accumulate} does not divide the batch of {self.batch}"
            raise ValueError(message)
        return self


class Gate(Section):
    """A run by whose word a slice of a class is emptied: where it finds too little of the class.

    `run` is the gate's name under runs/, or its path. A class stays in a slice only if the gate gives at
    least `pixels` of the slice's pixels a `probability` of it, or a higher one.
    """

    run: str
    probability: float = Field(default=0.6, gt=0, le=1)
    pixels: NonNegativeInt = 12


class Inference(Section):
    """The sliding window; `window` in voxels (X, Y, Z), by default the training patch.

    Windows overlap by at least the share `overlap` and cover the body, not the air around it; without
    `body_box` they cover the full scan, placed and weighted as by MONAI's sliding window. The prediction
    is the mean over all mirrored views along the axes `flips`: two, four or eight. `batch` windows are
    predicted at a time (by default as many as suit the engine). `gate` is another run that `volseg infer`
    asks, last, which slices of a class are empty (none: every slice stays).
    """

    window: Size | None = None
    overlap: float = Field(default=0.5, ge=0, lt=0.95)
    body_box: bool = True
    flips: tuple[Literal["x", "y", "z"], ...] = ()
    batch: PositiveInt | None = None
    gate: Gate | None = None

    @property
    def views(self) -> int:
        """The number of passes over a scan: as it is, and mirrored along each subset of `flips`."""
        return int(2 ** len(self.flips))
