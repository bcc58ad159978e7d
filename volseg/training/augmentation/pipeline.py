"""From a packed scan to an augmented training patch, as MONAI transforms.

A training item is a dict: `image` float32 (C, X, Y, Z) and `label` uint8 (K, X, Y, Z) with 0, 1 or IGNORE.
"""

from collections.abc import Sequence

from monai.transforms import Compose, Transform

from volseg.config.sections import Augment
from volseg.training.augmentation.intensity import Blur, Brightness, Contrast, Gamma, LowResolution, Noise
from volseg.training.augmentation.spatial import CutPatch, ElasticDeformation, Flip, PlacePatch, RotateZoom


def build_augmentation(augment: Augment, *, patch: Sequence[int], foreground: float) -> Compose:
    """The random transforms of a patch in their order: place, shape, then grey values."""
    spatial, intensity = augment.spatial_probability, augment.intensity_probability
    rotate_zoom = augment.scale or any(augment.degrees)
    steps: list[tuple[object, Transform]] = [
        (True, PlacePatch(patch, foreground)),
        (augment.flip, Flip(augment.flip)),
        (rotate_zoom, RotateZoom(augment.degrees, augment.scale, spatial)),
        (augment.elastic_mm, ElasticDeformation(augment.elastic_mm, spatial)),
        (True, CutPatch()),
        (augment.gamma, Gamma(augment.gamma, intensity)),
        (augment.blur, Blur(augment.blur, intensity)),
        (augment.low_resolution, LowResolution(augment.low_resolution, intensity)),
        (augment.contrast, Contrast(augment.contrast, intensity)),
        (augment.brightness, Brightness(augment.brightness, intensity)),
        (augment.noise, Noise(augment.noise, intensity)),
    ]
    return Compose([step for wanted, step in steps if wanted])
