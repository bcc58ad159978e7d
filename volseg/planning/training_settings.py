"""The variation of training patches and the average of weights that suit a number of scans and of steps."""

import re
from collections.abc import Sequence

from volseg.formatting import format_count
from volseg.planning.network_design import ALIKE
from volseg.schema import Spacing

FEW, SOME = 50, 250
"""Training scans below which variation is strong, and below which it is moderate."""
ROTATION = 20.0  # degrees
CT_CONTRAST = 0.7
"""`class_contrast` for CT: organs differ less from scan to scan in Hounsfield units than in MR."""
STRONG: dict[str, object] = {
    "scale": 0.2, "spatial_probability": 0.7, "class_contrast": 1.4, "blobs": 0.3, "gamma": 0.3,
    "blur": 0.8, "low_resolution": 0.5, "contrast": 0.2, "noise": 0.05, "intensity_probability": 0.5,
}  # fmt: skip
MODERATE: dict[str, object] = {
    "scale": 0.15,
    "spatial_probability": 0.5,
    "gamma": 0.2,
    "blur": 0.5,
    "contrast": 0.15,
    "noise": 0.03,
}
SIDES = {"left", "right"}  # words in the names of classes that a mirrored scan would make wrong
AVERAGES = ((1_000, 0.99), (3_000, 0.995), (30_000, 0.998), (None, 0.999))
"""Steps of a run at most, and the decay of its moving average."""


def choose_augmentation(
    scans: int, classes: Sequence[str], spacing_mm: Spacing, *, ct: bool = False
) -> tuple[dict[str, object], dict[str, str]]:
    """Settings of `augment` for so many training scans on a grid, and their reasons by dotted key."""
    flip, why = _choose_flips(classes)
    reasons = {"augment.flip": why}
    if scans >= SOME:
        return {"flip": flip}, reasons
    settings = {**(STRONG if scans < FEW else MODERATE)}
    degree = "strong" if scans < FEW else "moderate"
    cubes = max(spacing_mm) < ALIKE * min(spacing_mm)
    about = [ROTATION] * 3 if cubes else ROTATION
    told = "about all axes, as voxels are near cubes" if cubes else "about z, as slices are thick"
    reasons["augment"] = (
        f"{degree} variation for {format_count(scans, 'training scan')}: few are soon learned by heart"
    )
    reasons |= {f"augment.{name}": f"{degree} variation" for name in settings}
    if "class_contrast" in settings:
        settings["class_contrast"] = CT_CONTRAST if ct else settings["class_contrast"]
        reasons["augment.class_contrast"] = "each organ darker or brighter by itself, up to e to this power"
    reasons["augment.rotate_degrees"] = f"largest rotation; {told}"
    return {"flip": flip, "rotate_degrees": about, **settings}, reasons


def _choose_flips(classes: Sequence[str]) -> tuple[list[str], str]:
    """The axes to mirror: left and right, unless a class is named by its side."""
    sided = next((name for name in classes if _words_in(name) & SIDES), None)
    if sided:
        return [], f"none: mirrored, {sided} would be on the other side"
    return ["x"], "left and right: no class is named by its side; no other axis, as patients lie alike"


def _words_in(name: str) -> set[str]:
    """The words of a class's name in lower case: of `LeftKidney` and `kidney_left` left and kidney."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return {*re.split(r"[^a-z]+", parted.lower())} - {""}


def choose_average(steps: int) -> tuple[float, str]:
    """The decay of the moving average of the weights for a run of so many steps, and the reason."""
    decay = next(decay for most, decay in AVERAGES if most is None or steps <= most)
    return (
        decay,
        f"decay of the moving average of the weights: over about {1 / (1 - decay):.0f} of {steps} steps",
    )
