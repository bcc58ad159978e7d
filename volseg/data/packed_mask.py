"""A mask that takes little memory, so that a scan's hundred classes fit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from volseg.arrays import Box, bounding_box

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class PackedMask:
    """A mask (X, Y, Z) as the bits of the box around it."""

    shape: tuple[int, ...]
    box: Box
    bits: npt.NDArray[np.uint8]

    @classmethod
    def from_mask(cls, mask: Mask) -> "PackedMask":
        """The mask without what is empty around it."""
        box = bounding_box(mask)
        return cls(mask.shape, box, np.packbits(mask[box].T))

    def unpack(self) -> Mask:
        """The mask (X, Y, Z), slice by slice in memory as volumes are."""
        mask = np.zeros(self.shape, dtype=bool, order="F")
        mask[self.box] = self._unpack_box()
        return mask

    def count_shared(self, other: "PackedMask") -> int:
        """The number of voxels that both masks have."""
        pairs = list(zip(self.box, other.box, strict=True))
        shared = [slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in pairs]
        if any(side.stop <= side.start for side in shared):
            return 0
        return int(np.count_nonzero(self.unpack_part(shared) & other.unpack_part(shared)))

    def _unpack_box(self) -> Mask:
        sides = [side.stop - side.start for side in self.box]
        bits = np.unpackbits(self.bits, count=int(np.prod(sides)))
        return bits.view(np.bool_).reshape(sides[::-1]).T

    def unpack_part(self, part: Sequence[slice]) -> Mask:
        """The mask in a part of its box."""
        starts = [side.start for side in self.box]
        inner = [
            slice(side.start - start, side.stop - start) for side, start in zip(part, starts, strict=True)
        ]
        return self._unpack_box()[tuple(inner)]
