"""Connected components of a mask and its holes, in 3D or in each slice, within the box around the mask.

Components are joined over faces, edges and corners (26 neighbours in 3D, 8 in a slice), background over faces
only (6 and 4 neighbours).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from volseg.arrays import Box, bounding_box

Mask = npt.NDArray[np.bool_]
INNER = (slice(1, -1),) * 3


@dataclass(frozen=True, eq=False)
class ConnectedComponents:
    """The components of a mask of this shape (X, Y, Z), in 3D or within its slices (X, Y).

    `framed` is the mask's box with an empty voxel around it. `owners` are the component numbers, from 0, of
    its voxels, (N,) in the order in which they lie in memory; `sizes` are voxel counts, (P,).
    """

    shape: tuple[int, ...]
    box: Box
    framed: Mask
    owners: npt.NDArray[np.unsignedinteger]
    sizes: npt.NDArray[np.int64]

    @classmethod
    def from_mask(cls, mask: Mask, *, in_slices: bool = False) -> "ConnectedComponents":
        """The components of a mask (X, Y, Z)."""
        box = bounding_box(mask)
        framed = _pad_background(mask[box])
        numbers = _label_components(framed, in_slices=in_slices, connectivity=8 if in_slices else 26)
        owners = numbers.T[framed.T] - 1
        return cls(mask.shape, box, framed, owners, np.bincount(owners))

    @property
    def count(self) -> int:
        """The number of components."""
        return len(self.sizes)

    def selected_mask(self, wanted: Mask) -> Mask:
        """The mask (X, Y, Z) of the components with a true value in `wanted`, (P,)."""
        inside = np.zeros_like(self.framed)
        inside.T[self.framed.T] = wanted[self.owners]
        return uncrop_mask(inside[INNER], self.box, self.shape)

    def containing_seeds(self, seeds: Mask) -> Mask:
        """Whether each component holds a voxel of another mask (X, Y, Z); bool (P,)."""
        inside = _pad_background(seeds[self.box])
        seeded = np.zeros(len(self.sizes), dtype=bool)
        seeded[self.owners[inside.T[self.framed.T]]] = True
        return seeded


def fill_holes(mask: Mask, *, in_slices: bool = False) -> Mask:
    """A mask (X, Y, Z) with its holes: background not joined to the border of the slice or the scan."""
    box = bounding_box(mask)
    background = ~_pad_background(mask[box])
    around = _label_components(background, in_slices=in_slices, connectivity=4 if in_slices else 6)
    return uncrop_mask((around != around[0, 0, 0])[INNER], box, mask.shape)  # 0 is the mask itself


def uncrop_mask(inside: Mask, box: Box, shape: Sequence[int]) -> Mask:
    """A mask of this shape that is empty outside the box."""
    mask = np.zeros(shape, dtype=bool, order="F")
    mask[box] = inside
    return mask


def _pad_background(inside: Mask) -> Mask:
    """A copy with an empty voxel around it, in Fortran order.

    The frame joins the background outside. And cc3d 4.1 raises "maximum length exception" on [1, 0, 1] and
    other small odd sizes.
    """
    framed = np.zeros([side + 2 for side in inside.shape], dtype=bool, order="F")
    framed[INNER] = inside
    return framed


def _label_components(framed: Mask, *, in_slices: bool, connectivity: int) -> npt.NDArray[np.unsignedinteger]:
    """The number of each voxel's component from 1, and 0 for background.

    Slices are laid side by side, where their frames keep them apart, and join the background outside.
    """
    import cc3d

    laid = framed.reshape(framed.shape[0], -1, order="F") if in_slices else framed
    labels: npt.NDArray[np.unsignedinteger] = cc3d.connected_components(laid, connectivity=connectivity)
    return labels.reshape(framed.shape, order="F")
