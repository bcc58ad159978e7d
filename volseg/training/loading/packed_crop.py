"""A box of a packed scan as tensors, on the way from the cache to the training device."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from volseg.training.loading.packed_scan import PackedScan


@dataclass(frozen=True)
class PackedCrop:
    """A box of a scan: `image` float16 (C, X, Y, Z), `bits` uint8 (B, X, Y, Z), `low` its first voxel.

    `planes` are the numbers of the classes that the scan has anywhere, in their order, and the number
    behind the last class where it has ignored voxels. `teacher` are the probabilities of a teacher in 255ths,
    uint8 (K, X, Y, Z), if there are any.
    """

    image: Tensor
    bits: Tensor
    low: tuple[int, ...]
    planes: tuple[int, ...]
    class_count: int
    exclusive: bool
    teacher: Tensor | None = None

    @classmethod
    def from_scan(cls, scan: PackedScan) -> "PackedCrop":
        """A whole scan; nothing is copied."""
        return cls(
            torch.from_numpy(scan.image),
            torch.from_numpy(scan.bits),
            (0, 0, 0),
            scan.held_planes,
            scan.class_count,
            scan.exclusive,
            None if scan.teacher is None else torch.from_numpy(scan.teacher),
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """(X, Y, Z)."""
        return tuple(self.image.shape[1:])

    def window(self, box: Sequence[slice]) -> "PackedCrop":
        """The part in a box of the crop; nothing is copied."""
        low = tuple(first + part.start for first, part in zip(self.low, box, strict=True))
        return replace(self._with_arrays(lambda voxels: voxels[:, *box]), low=low)

    def plane(self, number: int) -> Tensor:
        """1 in a class, or in ignored voxels (behind the last class), else 0: uint8 (X, Y, Z)."""
        return (self.bits[number // 8] & (1 << number % 8)).clamp_(max=1)

    def copied(self, *, pinned: bool) -> "PackedCrop":
        """A copy in one piece, in pinned memory if it is to go to a GPU while the CPU goes on."""
        return self._with_arrays(partial(_copy_of, pinned=pinned))

    def to(self, device: torch.device) -> "PackedCrop":
        """The crop on a device; from pinned memory without waiting for it to arrive."""
        from_pinned = device.type == "cuda"  # MPS may read memory that is used anew meanwhile
        return self._with_arrays(lambda voxels: voxels.to(device, non_blocking=from_pinned))

    def _with_arrays(self, change: Callable[[Tensor], Tensor]) -> "PackedCrop":
        """The crop with all its arrays changed in the same way."""
        teacher = None if self.teacher is None else change(self.teacher)
        return replace(self, image=change(self.image), bits=change(self.bits), teacher=teacher)


def _copy_of(tensor: Tensor, *, pinned: bool) -> Tensor:
    copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=pinned)
    np.copyto(copy.numpy(), tensor.numpy())  # torch would start threads of its own in each data thread
    return copy
