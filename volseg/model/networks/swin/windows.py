"""Which windows of a shifted grid may not see which of their voxels."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import torch
from torch import Tensor

Size = tuple[int, ...]
APART = -100.0
"""What attention between voxels that only the shift made neighbours gets added, as in MONAI."""


@dataclass(frozen=True)
class Kinds:
    """The windows of a batch, sorted into at most eight kinds, each with one mask.

    Only the last window of a shifted axis holds voxels from both ends of the image. So a window's mask
    depends on nothing but the axes on which it is the last.
    """

    order: Tensor
    """(B * W,): the windows of each kind one after the other."""
    back: Tensor
    """(B * W,): the place of each window in `order`."""
    counts: tuple[int, ...]
    """The number of windows of each kind."""
    masks: tuple[Tensor | None, ...]
    """For each kind what is added to its attention, (N, N), or None."""


@lru_cache(maxsize=64)
def kinds(grid: Size, window: Size, shift: Size, *, batch: int, device: torch.device) -> Kinds:
    """The kinds of windows of a grid of `grid` windows a scan, shifted by `shift` voxels."""
    shifted = [axis for axis in range(len(grid)) if shift[axis]]
    places = torch.cartesian_prod(*(torch.arange(n) for n in grid)).view(-1, len(grid))
    last = places == torch.tensor(grid) - 1
    kind = sum(
        (last[:, axis].long() << axis for axis in shifted),
        torch.zeros(len(places), dtype=torch.long),
    )
    kind = kind.repeat(batch)
    order = kind.argsort(stable=True)
    present = sorted(set(kind.tolist()))
    return Kinds(
        order=order.to(device),
        back=order.argsort().to(device),
        counts=tuple(int((kind == one).sum()) for one in present),
        masks=tuple(_mask(one, window, shift, device) for one in present),
    )


def _mask(kind: int, window: Size, shift: Size, device: torch.device) -> Tensor | None:
    """The mask of windows that are the last on the axes whose bits `kind` has."""
    if not kind:
        return None
    steps = [
        [i >= size - step if kind >> axis & 1 else False for i in range(size)]
        for axis, (size, step) in enumerate(zip(window, shift, strict=True))
    ]
    region = torch.tensor(
        [sum(bit << axis for axis, bit in enumerate(voxel)) for voxel in product(*steps)]
    )
    apart = region[:, None] != region[None, :]
    return torch.where(apart, APART, 0.0).to(device)
