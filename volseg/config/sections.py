"""What a run's config says about its data: which scans, on which grid, and how they are varied."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat

from volseg.data.preprocessing.grid import Spacing
from volseg.data.preprocessing.intensity_scaling import Intensity, Percentiles
from volseg.schema import Section

Share = Annotated[float, Field(ge=0, le=1)]
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
