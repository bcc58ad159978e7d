"""From a scan to an augmented training patch, as MONAI transforms.

The order stands here and nowhere else; to change it, edit `augmentation`. A training item is a dict:
`image` float32 (C, X, Y, Z) and `label` uint8 (K, X, Y, Z) with 0, 1 or IGNORE.
"""

from collections.abc import Sequence

from monai.transforms import Compose, Transform

from volseg.config.sections import Augment
from volseg.training.augmentation.intensity import Blur, Brightness, Contrast, Gamma, LowResolution, Noise
from volseg.training.augmentation.spatial import CutPatch, ElasticDeformation, Flip, PlacePatch, RotateZoom


def build_augmentation(augment: Augment, *, patch: Sequence[int], foreground: float) -> Compose:
    """All that is drawn for a patch, in order: its place, its shape, then its grey values."""
    sometimes, often = augment.spatial_probability, augment.intensity_probability
    turned = augment.scale or any(augment.degrees)
    steps: list[tuple[object, Transform]] = [
        (True, PlacePatch(patch, foreground)),
        (augment.flip, Flip(augment.flip)),
        (turned, RotateZoom(augment.degrees, augment.scale, sometimes)),
        (augment.elastic_mm, ElasticDeformation(augment.elastic_mm, sometimes)),
        (True, CutPatch()),
        (augment.gamma, Gamma(augment.gamma, often)),
        (augment.blur, Blur(augment.blur, often)),
        (augment.low_resolution, LowResolution(augment.low_resolution, often)),
        (augment.contrast, Contrast(augment.contrast, often)),
        (augment.brightness, Brightness(augment.brightness, often)),
        (augment.noise, Noise(augment.noise, often)),
    ]
    return Compose([step for wanted, step in steps if wanted])
