"""Networks and patches that suit each other: nnU-Net's rules (Isensee et al. 2021) for our networks."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from volseg.model.networks import DynUNet, Network, SegResNet, SwinUNETR, UNet
from volseg.model.networks.strides import Stride
from volseg.schema import Size, Spacing

Kind = Literal["unet", "dynunet", "segresnet", "swinunetr"]
HALVED = 8
"""An axis of fewer voxels is not halved any more."""
ALIKE = 2.0
"""Axes are halved together while their spacings differ by less than this factor."""
DEEPEST = 5
"""Halvings at most."""
WIDEST = 10
"""Channels double from level to level, up to this multiple of the first (320 of 32 in nnU-Net)."""
BATCH, LARGEST_BATCH = 2, 16
"""Batches at least and at most: patches shrink before a batch has less than BATCH."""
SMALLEST = 16
"""No axis of a patch shrinks below so many voxels."""


@dataclass(frozen=True)
class NetworkDesign:
    """A network, its patch in voxels (X, Y, Z), and how many of them make a batch."""

    network: Network
    patch: Size
    batch: int = BATCH

    @property
    def batch_voxels(self) -> int:
        """Of a batch."""
        return self.batch * math.prod(self.patch)


def level_strides(patch: Sequence[int], spacing_mm: Spacing) -> tuple[Stride, ...]:
    """The step of each axis at each level below the first.

    At each level those axes are halved that have HALVED voxels or more left and whose spacing is less
    than ALIKE times the finest of these, so that voxels become cubes before all axes shrink.
    """
    size, spacing = list(patch), list(spacing_mm)
    steps: list[Stride] = []
    while len(steps) < DEEPEST:
        large = [axis for axis in range(3) if size[axis] >= HALVED]
        if not large:
            break
        finest = min(spacing[axis] for axis in large)
        x, y, z = (2 if a in large and spacing[a] < ALIKE * finest else 1 for a in range(3))
        steps.append((x, y, z))
        size = [-(-n // s) for n, s in zip(size, steps[-1], strict=True)]
        spacing = [mm * s for mm, s in zip(spacing, steps[-1], strict=True)]
    return tuple(steps)


def design_network(kind: Kind, wanted: Sequence[int], spacing_mm: Spacing, *, narrow: bool) -> NetworkDesign:
    """The network of this kind for a patch of `wanted` voxels, which is rounded up to its stride.

    `narrow` halves the channels.
    """
    network = _NETWORKS[kind](wanted, spacing_mm, narrow)
    x, y, z = (-(-n // s) * s for n, s in zip(wanted, network.stride, strict=True))
    patch = (x, y, z)
    if patch == network.stride:  # one voxel would be left at the deepest level
        patch = (2 * x, 2 * y, 2 * z)
    return NetworkDesign(network, patch)


def candidate_designs(
    kind: Kind, shape: Size, spacing_mm: Spacing, *, narrow: bool, most: int
) -> list[NetworkDesign]:
    """From the largest to the smallest: batches of whole scans (`shape`), then of ever smaller patches.

    A batch of more than BATCH has at most `most` voxels. A patch shrinks along the axis that covers
    most of the scan, by its network's stride.
    """
    whole = design_network(kind, shape, spacing_mm, narrow=narrow)
    batches = range(min(most // math.prod(whole.patch), LARGEST_BATCH), BATCH, -1)
    larger = [NetworkDesign(whole.network, whole.patch, batch) for batch in batches]
    return [
        *larger,
        whole,
        *_smaller_designs(whole, shape, lambda n: design_network(kind, n, spacing_mm, narrow=narrow)),
    ]


def _smaller_designs(
    whole: NetworkDesign, shape: Size, made: Callable[[Sequence[int]], NetworkDesign]
) -> Iterator[NetworkDesign]:
    last = whole
    while True:
        stride = last.network.stride
        free = [axis for axis in range(3) if last.patch[axis] - stride[axis] >= SMALLEST]
        for axis in sorted(free, key=lambda a: -last.patch[a] / shape[a]):
            wanted = list(last.patch)
            wanted[axis] -= stride[axis]
            smaller = made(wanted)
            if smaller.batch_voxels < last.batch_voxels:
                last = smaller
                break
        else:
            return
        yield last


def _design_unet(patch: Sequence[int], spacing_mm: Spacing, narrow: bool) -> UNet:
    steps = level_strides(patch, spacing_mm) or ((1, 1, 1),)
    return UNet(channels=_channels_per_level(steps, narrow=narrow), strides=steps)


def _design_dynunet(patch: Sequence[int], spacing_mm: Spacing, narrow: bool) -> DynUNet:
    steps = level_strides(patch, spacing_mm)
    steps += ((1, 1, 1),) * (2 - len(steps))
    return DynUNet(filters=_channels_per_level(steps, narrow=narrow), strides=steps)


def _design_segresnet(patch: Sequence[int], _: Spacing, narrow: bool) -> SegResNet:
    """All axes are halved together, as often as the shortest can be."""
    blocks = (1, 2, 2, 4)
    halved = max(1, min(len(blocks) - 1, int(math.log2(max(2, min(patch) * 2 / HALVED)))))
    return SegResNet(filters=8 if narrow else 16, blocks_down=blocks[: halved + 1])


def _design_swinunetr(_patch: Sequence[int], _: Spacing, narrow: bool) -> SwinUNETR:
    return SwinUNETR(feature_size=12 if narrow else 24)


def _channels_per_level(steps: Sequence[Stride], *, narrow: bool) -> tuple[int, ...]:
    first = 16 if narrow else 32
    return tuple(min(first * 2**level, WIDEST * first) for level in range(len(steps) + 1))


_NETWORKS: dict[Kind, Callable[[Sequence[int], Spacing, bool], Network]] = {
    "unet": _design_unet,
    "dynunet": _design_dynunet,
    "segresnet": _design_segresnet,
    "swinunetr": _design_swinunetr,
}
