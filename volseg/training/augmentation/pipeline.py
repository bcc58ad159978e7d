"""From a packed scan to what is drawn for a training patch, as MONAI transforms."""

from collections.abc import Sequence

from monai.transforms import Compose, Transform

from volseg.config.sections import Augment
from volseg.training.augmentation.intensity import (
    Blobs,
    Blur,
    Brightness,
    ClassContrast,
    Contrast,
    Gamma,
    LowResolution,
    Noise,
)
from volseg.training.augmentation.spatial import ElasticDeformation, Flip, PlacePatch, RotateZoom


def build_augmentation(augment: Augment, *, patch: Sequence[int], foreground: float) -> Compose:
    """The random transforms of a patch in their order: place, shape, then grey values."""
    spatial, intensity = augment.spatial_probability, augment.intensity_probability
    rotate_zoom = any((*augment.zooms, *augment.degrees))
    steps: list[tuple[object, Transform]] = [
        (True, PlacePatch(patch, foreground)),
        (augment.flip, Flip(augment.flip)),
        (rotate_zoom, RotateZoom(augment.degrees, augment.zooms, spatial)),
        (augment.elastic_mm, ElasticDeformation(augment.elastic_mm, spatial)),
        (augment.class_contrast, ClassContrast(augment.class_contrast, intensity)),
        (augment.blobs, Blobs(augment.blobs, intensity)),
        (augment.gamma, Gamma(augment.gamma, intensity)),
        (augment.blur, Blur(augment.blur, intensity)),
        (augment.low_resolution, LowResolution(augment.low_resolution, intensity)),
        (augment.contrast, Contrast(augment.contrast, intensity)),
        (augment.brightness, Brightness(augment.brightness, intensity)),
        (augment.noise, Noise(augment.noise, intensity)),
    ]
    return Compose([step for wanted, step in steps if wanted])
