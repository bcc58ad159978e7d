"""Random changes of a patch's grey values, which are 0 to 1 before them, each with its own probability.

A transform draws how strong a change is. The change itself is made later, on the training device.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from monai.transforms import Randomizable, Transform

from volseg.training.augmentation.drawn_patch import DrawnPatch
from volseg.training.augmentation.grey_values import (
    AddNoise,
    AddOffset,
    Blob,
    Coarsen,
    GreyChange,
    Multiply,
    Power,
    Smooth,
)

MOST_BLOBS = 3
SMALLEST_BLOB = 1 / 6  # of the largest one's radius
BRIGHTEST_BLOB = 1.1  # somewhat beyond the brightest tissue, which is 1


class Variation(Randomizable, Transform):  # type: ignore[misc]
    """A variation of up to the strength `most`, made with the probability `often`."""

    def __init__(self, most: float, often: float) -> None:
        self.most = most
        self.often = often

    def __call__(self, patch: DrawnPatch) -> DrawnPatch:
        """The patch with what was drawn for it, or unchanged."""
        return patch if self.R.random_sample() >= self.often else self._vary(patch)

    @abstractmethod
    def _vary(self, patch: DrawnPatch) -> DrawnPatch:
        """The patch with a variation."""


class ClassContrast(Variation):
    """Multiply the voxels of each class by exp(-most) to exp(most).

    Organs that are darker or brighter than in any training scan are then found by their place and shape.
    """

    def _vary(self, patch: DrawnPatch) -> DrawnPatch:
        powers = self.R.uniform(-self.most, self.most, patch.scan.class_count)
        return replace(patch, class_factors=tuple(np.exp(powers).tolist()))


class Blobs(Variation):
    """Paint one to three ellipsoids, each of one grey value, beside the classes.

    Their radii are up to `most` of the patch along each axis. What no training scan shows, such as a cyst, is
    then not so easily taken for an organ.
    """

    def _vary(self, patch: DrawnPatch) -> DrawnPatch:
        count = int(self.R.randint(1, MOST_BLOBS + 1))
        return replace(patch, blobs=tuple(self._draw_blob(patch.frame.size) for _ in range(count)))

    def _draw_blob(self, size: Sequence[int]) -> Blob:
        x, y, z = (self.R.uniform(0, 1, 3) * size).tolist()
        along_x, along_y, along_z = np.maximum(
            self.R.uniform(SMALLEST_BLOB * self.most, self.most, 3) * size, 1
        )
        value = float(np.float32(self.R.uniform(0, BRIGHTEST_BLOB)))
        return Blob((x, y, z), (float(along_x), float(along_y), float(along_z)), value)


class IntensityTransform(Variation):
    """A change of the whole patch, made behind the others."""

    def _vary(self, patch: DrawnPatch) -> DrawnPatch:
        return replace(patch, changes=(*patch.changes, self._draw_change(patch.frame.size)))

    @abstractmethod
    def _draw_change(self, size: Sequence[int]) -> GreyChange:
        """A change of a patch of `size` voxels (X, Y, Z)."""

    def _draw_symmetric(self) -> float:
        return float(self.R.uniform(-self.most, self.most))


class Gamma(IntensityTransform):
    """Raise to a power between exp(-most) and exp(most); needs values of at least 0."""

    def _draw_change(self, size: Sequence[int]) -> Power:  # noqa: ARG002
        return Power(float(np.float32(np.exp(self._draw_symmetric()))))


class Blur(IntensityTransform):
    """Smooth by a Gaussian of up to `most` voxels."""

    def _draw_change(self, size: Sequence[int]) -> Smooth:  # noqa: ARG002
        return Smooth(float(self.R.uniform(0, self.most)))


class LowResolution(IntensityTransform):
    """Resample to voxels of up to `1 + most` times the width, and back, linearly."""

    def _draw_change(self, size: Sequence[int]) -> Coarsen:
        wider = 1 + self.R.uniform(0, self.most)
        return Coarsen(tuple(max(1, round(n / wider)) for n in size))


class Contrast(IntensityTransform):
    """Multiply by 1 - most to 1 + most."""

    def _draw_change(self, size: Sequence[int]) -> Multiply:  # noqa: ARG002
        return Multiply(float(np.float32(1 + self._draw_symmetric())))


class Brightness(IntensityTransform):
    """Add -most to most."""

    def _draw_change(self, size: Sequence[int]) -> AddOffset:  # noqa: ARG002
        return AddOffset(float(np.float32(self._draw_symmetric())))


class Noise(IntensityTransform):
    """Add Gaussian noise with a standard deviation of up to `most`."""

    def _draw_change(self, size: Sequence[int]) -> AddNoise:  # noqa: ARG002
        deviation = float(self.R.uniform(0, self.most))
        return AddNoise(deviation, int(self.R.randint(2**31)))
