"""Networks and patch sizes that suit each other, by nnU-Net's rules (Isensee et al. 2021)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from volseg.arguments import NetworkName
from volseg.formatting import format_size
from volseg.model.networks import DynUNet, MedNeXt, Network, ResEnc, SegResNet, SwinUNETR, UNet, UNet25D
from volseg.model.networks.strides import Stride
from volseg.schema import Size, Spacing

HALVED = 8  # voxels of the shortest axis that is halved
ALIKE = 2.0  # ratio of spacings below which axes are halved together
DEEPEST = 5  # halvings at most
WIDEST = 10  # channels double from level to level up to this multiple of the first (320 of 32 in nnU-Net)
BATCH, LARGEST_BATCH = 2, 16
"""Patches in a batch at least and at most: patches shrink before a batch has less than BATCH."""
BATCH_SHARE = 0.05  # share of all voxels that a batch of more patches has at most (nnU-Net's rule)
SMALLEST = 16  # voxels of a patch's shortest axis at least
MOST_ELEMENTS = 2**31 - 1
"""Elements of the largest tensor of a step: no kernel needs 64-bit indices, little tested on GPUs."""
SWIN_HEADS, SWIN_WINDOW = 3, 7
"""A SwinUNETR's first blocks: heads, and tokens of a window along an axis; a token has 2 voxels."""


@dataclass(frozen=True)
class NetworkDesign:
    """A network, its patch in voxels (X, Y, Z), and the patches in a batch."""

    network: Network
    patch: Size
    batch: int = BATCH

    @property
    def batch_voxels(self) -> int:
        """The voxels of a batch."""
        return self.batch * math.prod(self.patch)

    @property
    def most_elements(self) -> int:
        """Elements of the largest tensor of a step at most: a decoder's two branches joined, or attention."""
        if isinstance(self.network, SwinUNETR):
            windows = math.prod(-(-n // (2 * SWIN_WINDOW)) for n in self.patch)
            scores = SWIN_HEADS * SWIN_WINDOW**6 * windows * self.batch
            return max(scores, 2 * self.network.feature_size * self.batch_voxels)
        if isinstance(self.network, MedNeXt):  # the last block on the way up widens twice the channels
            return 2 * self.network.expansion[0] * self.network.filters * self.batch_voxels
        return 2 * _first_width(self.network) * self.batch_voxels

    def __str__(self) -> str:
        return f"{self.batch} x {format_size(self.patch)}"


def level_strides(patch: Sequence[int], spacing_mm: Spacing) -> tuple[Stride, ...]:
    """The stride (x, y, z) of each level below the first.

    At each level those axes are halved that have HALVED voxels or more left and whose spacing is less
    than ALIKE times the finest of these, so that voxels become cubes before all axes shrink.
    """
    size, spacing = list(patch), list(spacing_mm)
    strides: list[Stride] = []
    while len(strides) < DEEPEST:
        large = [axis for axis in range(3) if size[axis] >= HALVED]
        if not large:
            break
        finest = min(spacing[axis] for axis in large)
        x, y, z = (2 if a in large and spacing[a] < ALIKE * finest else 1 for a in range(3))
        strides.append((x, y, z))
        size = [-(-n // s) for n, s in zip(size, strides[-1], strict=True)]
        spacing = [mm * s for mm, s in zip(spacing, strides[-1], strict=True)]
    return tuple(strides)


def level_kernels(spacing_mm: Spacing, strides: Sequence[Stride]) -> tuple[Stride, ...]:
    """The voxels of the kernel along each axis (x, y, z) at each level, the finest first.

    An axis has kernels of 1 as long as its spacing is ALIKE times the finest or more, and of 3 from then on.
    """
    spacing, kernel = list(spacing_mm), [1, 1, 1]
    kernels: list[Stride] = []
    for stride in ((1, 1, 1), *strides):
        spacing = [mm * s for mm, s in zip(spacing, stride, strict=True)]
        finest = min(spacing)
        x, y, z = kernel = [3 if mm < ALIKE * finest else k for mm, k in zip(spacing, kernel, strict=True)]
        kernels.append((x, y, z))
    return tuple(kernels)


def design_network(
    kind: NetworkName, size: Sequence[int], spacing_mm: Spacing, *, narrow: bool
) -> NetworkDesign:
    """The network of this kind for a patch of `size` voxels (X, Y, Z), rounded up to its stride.

    `narrow` halves the channels.
    """
    network = _build_network(kind, size, spacing_mm, narrow=narrow)
    x, y, z = (-(-n // s) * s for n, s in zip(size, network.stride, strict=True))
    z = max(z, 2 * network.reach[2] + 1)
    patch = (x, y, z)
    if patch == network.stride:  # one voxel would be left at the deepest level
        patch = (2 * x, 2 * y, 2 * z)
    return NetworkDesign(network, patch)


def candidate_designs(
    kind: NetworkName, shape: Size, spacing_mm: Spacing, *, narrow: bool, most: int
) -> list[NetworkDesign]:
    """Designs from large to small: batches of full scans (`shape`), then of ever smaller patches.

    A batch of more than BATCH patches has at most `most` voxels, and no tensor of a step more than
    MOST_ELEMENTS elements. A patch shrinks along the axis that covers most of the scan, by its network's
    stride.
    """
    full = design_network(kind, shape, spacing_mm, narrow=narrow)
    batches = range(min(most // math.prod(full.patch), LARGEST_BATCH), BATCH, -1)
    designs = [*(NetworkDesign(full.network, full.patch, batch) for batch in batches), full]
    while smaller := _next_smaller(
        designs[-1], shape, lambda size: design_network(kind, size, spacing_mm, narrow=narrow)
    ):
        designs.append(smaller)
    return [design for design in designs if design.most_elements <= MOST_ELEMENTS] or designs[-1:]


def _next_smaller(
    last: NetworkDesign, shape: Size, design: Callable[[Sequence[int]], NetworkDesign]
) -> NetworkDesign | None:
    """The design with the next smaller patch; None where no axis can shrink."""
    stride = last.network.stride
    free = [axis for axis in range(3) if last.patch[axis] - stride[axis] >= SMALLEST]
    for axis in sorted(free, key=lambda a: -last.patch[a] / shape[a]):
        size = list(last.patch)
        size[axis] -= stride[axis]
        smaller = design(size)
        if smaller.batch_voxels < last.batch_voxels:
            return smaller
    return None


def _first_width(network: UNet | DynUNet | ResEnc | SegResNet | UNet25D) -> int:
    """The channels of a network's first level, or before its last."""
    if isinstance(network, UNet25D):
        return network.decoder[-2]
    if isinstance(network, SegResNet):
        return network.filters
    return network.channels[0] if isinstance(network, UNet) else network.filters[0]


def _build_network(kind: NetworkName, patch: Sequence[int], spacing_mm: Spacing, *, narrow: bool) -> Network:
    """The network for a patch: U-Nets like nnU-Net's by `level_strides`, the others halve axes together."""
    width = 1 if narrow else 2
    if kind in ("unet", "dynunet", "resenc"):
        return _build_like_nnunet(kind, patch, spacing_mm, width=16 * width)
    if kind == "mednext":
        return MedNeXt(filters=16 * width)
    if kind == "unet25d":
        a, b, c, d, e = (8 * width * 2**level for level in (4, 3, 2, 1, 0))
        return UNet25D(decoder=(a, b, c, d, e))
    if kind == "swinunetr":
        return SwinUNETR(feature_size=12 * width)
    blocks = (1, 2, 2, 4)
    halvings = max(1, min(len(blocks) - 1, int(math.log2(max(2, min(patch) * 2 / HALVED)))))
    return SegResNet(filters=8 * width, blocks_down=blocks[: halvings + 1])


def _build_like_nnunet(
    kind: NetworkName, patch: Sequence[int], spacing_mm: Spacing, *, width: int
) -> UNet | DynUNet | ResEnc:
    """A U-Net with `width` channels in its first level and strides of each axis by itself."""
    strides = level_strides(patch, spacing_mm)
    strides += ((1, 1, 1),) * ((1 if kind == "unet" else 2) - len(strides))
    channels = tuple(width * min(2**level, WIDEST) for level in range(len(strides) + 1))
    if kind == "unet":
        return UNet(channels=channels, strides=strides)
    if kind == "dynunet":
        return DynUNet(filters=channels, strides=strides)
    return ResEnc(filters=channels, strides=strides, kernels=level_kernels(spacing_mm, strides))
