"""Changes of an image's grey values, made in place on any torch device."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from volseg.data.volume import Array
from volseg.model.engines.torch_arrays import TorchArrays

NORMALS = 4_194_301  # a prime, so that channels of usual sizes never meet the same numbers in the same voxel


def multiply_classes(image: Tensor, label: Tensor, factors: Sequence[float]) -> None:
    """Multiply an image (C, X, Y, Z) in place where classes are, by a factor each.

    `label` (K, X, Y, Z) is 1 in its class; factors of classes that overlap are multiplied.
    """
    for number, factor in enumerate(factors):
        image.mul_(torch.where(label[number] == 1, factor, 1.0))


BLOB_BORDER = 0.125
"""The width of a blob's border as a share of its radius; half of it lies outside."""


@dataclass(frozen=True)
class Blob:
    """An ellipsoid of one grey value that is no organ: `centre` and `radii` in voxels of the patch."""

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    value: float

    def paint(self, image: Tensor, label: Tensor) -> None:
        """Paint into an image (C, X, Y, Z) in place, but not where `label` (K, X, Y, Z) has a class."""
        box = [
            slice(max(0, math.ceil(middle - reach)), max(0, math.floor(middle + reach) + 1))
            for middle, reach in zip(self.centre, np.multiply(self.radii, 1 + BLOB_BORDER / 2), strict=True)
        ]
        part = image[:, *box]
        x, y, z = (
            ((torch.arange(n, device=image.device) + (side.start - middle)) / radius).square_()
            for n, side, middle, radius in zip(part.shape[1:], box, self.centre, self.radii, strict=True)
        )
        inside = 1 - (x[:, None, None] + y[:, None] + z).sqrt_()  # in radii, from the surface
        share = inside.div_(BLOB_BORDER).add_(0.5).clamp_(0, 1)
        share.masked_fill_((label[:, *box] == 1).any(0), 0.0)
        part.add_(share * (self.value - part))


class GreyChange(Protocol):
    """A drawn change of grey values."""

    def __call__(self, image: Tensor) -> None:
        """Change the image, float32 (C, X, Y, Z) in one piece, in place."""


@dataclass(frozen=True)
class Power:
    """Raise to a power."""

    exponent: float

    def __call__(self, image: Tensor) -> None:
        """Change the image (C, X, Y, Z) in place."""
        image.pow_(self.exponent)


@dataclass(frozen=True)
class Smooth:
    """Smooth each channel by a Gaussian of `sigma` voxels, as scipy does (mode "nearest", truncate 3)."""

    sigma: float

    def __call__(self, image: Tensor) -> None:
        """Change the image (C, X, Y, Z) in place."""
        of_x, of_y, of_z = (_gaussian_matrix(n, self.sigma, image.device) for n in image.shape[1:])
        planes = of_y @ (image @ of_z.T)
        image.copy_((of_x @ planes.flatten(2)).view_as(image))


@dataclass(frozen=True)
class Coarsen:
    """Resample to `size` voxels (X, Y, Z) and back, linearly."""

    size: tuple[int, ...]

    def __call__(self, image: Tensor) -> None:
        """Change the image (C, X, Y, Z) in place."""
        coarse = interpolate(image[None], size=self.size, mode="trilinear")
        image.copy_(interpolate(coarse, size=image.shape[1:], mode="trilinear")[0])


@dataclass(frozen=True)
class Multiply:
    """Multiply by a factor."""

    factor: float

    def __call__(self, image: Tensor) -> None:
        """Change the image (C, X, Y, Z) in place."""
        image.mul_(self.factor)


@dataclass(frozen=True)
class AddOffset:
    """Add an offset."""

    offset: float

    def __call__(self, image: Tensor) -> None:
        """Change the image (C, X, Y, Z) in place."""
        image.add_(self.offset)


@dataclass(frozen=True)
class AddNoise:
    """Add Gaussian noise: normal numbers from a fixed row, which is read from a drawn `place` on."""

    deviation: float
    place: int

    def __call__(self, image: Tensor) -> None:
        """Change the image (C, X, Y, Z) in place."""
        row, left, place = normal_numbers(image.device), image.view(-1), self.place % NORMALS
        while len(left):
            piece = row[place : place + len(left)]
            left[: len(piece)].add_(piece, alpha=self.deviation)
            left, place = left[len(piece) :], 0


@cache
def normal_numbers(device: torch.device) -> Tensor:
    """The same standard normal numbers on every device: float32 (NORMALS,)."""
    drawn = np.random.Generator(np.random.SFC64(0)).standard_normal(NORMALS, dtype=np.float32)
    return torch.from_numpy(drawn).to(device)


def _gaussian_matrix(size: int, sigma: float, device: torch.device) -> Tensor:
    """The matrix (size, size) of a smoothing along one axis; beyond its ends the last value goes on."""
    radius = int(3 * sigma + 0.5)
    beside = torch.arange(-radius, radius + 1, device=device)
    weights = TorchArrays(device).upload(_gaussian_weights(radius, sigma))
    source = (torch.arange(size, device=device)[:, None] + beside).clamp(0, size - 1)
    hits = source[..., None] == torch.arange(size, device=device)
    return (hits * weights[:, None]).sum(1)


def _gaussian_weights(radius: int, sigma: float) -> Array:
    distance = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (distance / max(sigma, 1e-9)) ** 2)
    scaled: Array = (weights / weights.sum()).astype(np.float32)
    return scaled
