"""What a run's config says about its data: which scans, on which grid, and how they are varied."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat

from volseg.data.grid import Intensity, Percentiles, Spacing
from volseg.schema import Section

Share = Annotated[float, Field(ge=0, le=1)]


class Data(Section):
    """Which scans are trained on and how they are brought to the network's grid.

    `below_cut`: contouring stops at a lower slice though the organs go on; slices below the last
    labelled one count as background (as the competition scores them) or are ignored by the loss.
    """

    spacing_mm: Spacing | None = None
    intensity: Intensity = Percentiles()
    below_cut: Literal["background", "ignore"] = "background"
    split: Literal["folds", "none"] = "folds"
    hold_out: tuple[str, ...] = ()


class Augment(Section):
    """How strongly training patches are varied; 0 or an empty list leaves a kind out."""

    flip: tuple[Literal["x", "y", "z"], ...] = ()
    rotate_degrees: float = Field(default=15.0, ge=0, le=180)
    scale: float = Field(default=0.1, ge=0, lt=0.9)
    spatial_probability: Share = 0.5
    brightness: NonNegativeFloat = 0.1
    contrast: float = Field(default=0.1, ge=0, lt=1)
    noise: NonNegativeFloat = 0.02
    intensity_probability: Share = 0.3
