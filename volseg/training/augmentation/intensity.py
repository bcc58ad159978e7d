"""Random changes of a patch's grey values, which are 0 to 1 before them, each with its own probability."""

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from monai.transforms import Randomizable, Transform
from torch.nn.functional import interpolate

from volseg.data.volume import Array

Item = dict[str, Any]


class IntensityTransform(Randomizable, Transform):  # type: ignore[misc]
    """A change of up to the strength `most`, made with the probability `often`."""

    def __init__(self, most: float, often: float) -> None:
        self.most = most
        self.often = often

    def __call__(self, item: Item) -> Item:
        """The item; its `image`, float32 (C, X, Y, Z), may have been changed in place."""
        if self.R.random_sample() < self.often:
            self._vary(item["image"])
        return item

    @abstractmethod
    def _vary(self, image: Array) -> None:
        """Change the image (C, X, Y, Z) in place."""

    def _draw_symmetric(self) -> float:
        return float(self.R.uniform(-self.most, self.most))


class Gamma(IntensityTransform):
    """Raise to a power between exp(-most) and exp(most); needs values of at least 0."""

    def _vary(self, image: Array) -> None:
        np.power(image, np.float32(np.exp(self._draw_symmetric())), out=image)


class Blur(IntensityTransform):
    """Smooth by a Gaussian of up to `most` voxels."""

    def _vary(self, image: Array) -> None:
        from scipy.ndimage import gaussian_filter

        sigma = self.R.uniform(0, self.most)
        for channel in image:
            gaussian_filter(channel, sigma, output=channel, mode="nearest", truncate=3)


class LowResolution(IntensityTransform):
    """Resample to voxels of up to `1 + most` times the width, and back, linearly."""

    def _vary(self, image: Array) -> None:
        wider = 1 + self.R.uniform(0, self.most)
        fine = torch.from_numpy(image)[None]
        size = [max(1, round(n / wider)) for n in image.shape[1:]]
        coarse = interpolate(fine, size=size, mode="trilinear")
        image[...] = interpolate(coarse, size=image.shape[1:], mode="trilinear")[0].numpy()


class Contrast(IntensityTransform):
    """Multiply by 1 - most to 1 + most."""

    def _vary(self, image: Array) -> None:
        image *= np.float32(1 + self._draw_symmetric())


class Brightness(IntensityTransform):
    """Add -most to most."""

    def _vary(self, image: Array) -> None:
        image += np.float32(self._draw_symmetric())


class Noise(IntensityTransform):
    """Add Gaussian noise with a standard deviation of up to `most`."""

    def _vary(self, image: Array) -> None:
        deviation = self.R.uniform(0, self.most)
        seed = int(self.R.randint(2**31))
        noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed))
        image += noise.mul_(deviation).numpy()  # thrice as fast as numpy's
