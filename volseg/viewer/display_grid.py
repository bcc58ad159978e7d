"""The grid on which the page sees a scan: its own voxels, their axes to the right, the front and the head."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from volseg.data.volume import Affine, Array, Volume
from volseg.data.volume_files import encode_nifti

RAS = np.array([[0, 1], [1, 1], [2, 1]])  # nibabel's code: axes to the right, the front and the head
SLICE_AXIS: Final = 2  # across the slices: the axis nearest to the line from feet to head


@dataclass(frozen=True)
class DisplayGrid:
    """A scan's voxels with their axes exchanged and reversed to the nearest RAS+; none is resampled.

    The page's bitmaps are on this grid, a byte a voxel, X fastest; `bitmap` and `from_bitmap` go there and
    back.
    """

    native_shape: tuple[int, int, int]
    native_affine: Affine

    @classmethod
    def from_volume(cls, volume: Volume) -> "DisplayGrid":
        """The grid of a volume."""
        x, y, z = volume.voxels.shape
        return cls((x, y, z), volume.affine)

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """Voxels (X, Y, Z)."""
        x, y, z = self.to_display(np.broadcast_to(np.uint8(0), self.native_shape)).shape
        return x, y, z

    @property
    def voxels(self) -> int:
        """The number of voxels, and so of the bytes of a bitmap."""
        return int(np.prod(self.shape, dtype=np.int64))

    @cached_property
    def affine(self) -> Affine:
        """The affine (4, 4) to RAS+ mm; oblique scans stay oblique."""
        from nibabel.orientations import inv_ornt_aff

        affine: Affine = self.native_affine @ inv_ornt_aff(self._turn, self.native_shape)
        return affine

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along X, Y, Z in mm."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return x, y, z

    @property
    def native_slice_axis(self) -> int:
        """The native axis across the slices."""
        return int(self._turn[:, 0].tolist().index(SLICE_AXIS))

    @cached_property
    def native_slices(self) -> list[int]:
        """For each slice of this grid, its index along the native axis."""
        axis = self.native_slice_axis
        indices = list(range(self.native_shape[axis]))
        return indices if self._turn[axis, 1] > 0 else indices[::-1]

    def to_display(self, voxels: Array) -> Array:
        """Native voxels (X, Y, Z) on this grid, as a view."""
        import nibabel

        turned: Array = nibabel.orientations.apply_orientation(voxels, self._turn)
        return turned

    def to_native(self, voxels: Array) -> Array:
        """Voxels of this grid on the native one, as a view."""
        import nibabel

        back = nibabel.orientations.ornt_transform(RAS, self._turn)
        turned: Array = nibabel.orientations.apply_orientation(voxels, back)
        return turned

    def encode(self, voxels: Array) -> bytes:
        """Native voxels as a NIfTI file of this grid, which readers show without any turn."""
        return encode_nifti(Volume(self.to_display(voxels), self.affine))

    def bitmap(self, display: npt.NDArray[np.bool_]) -> bytes:
        """A mask of this grid as the page's bytes."""
        return display.astype(np.uint8).tobytes(order="F")

    def from_bitmap(self, data: bytes) -> npt.NDArray[np.uint8]:
        """The page's bytes as voxels of this grid.

        Raises:
            ValueError: another number of bytes, or bytes that are neither 0 nor 1.
        """
        if len(data) != self.voxels:
            raise ValueError(f"has {len(data)} bytes; expected {self.voxels}, one a voxel")
        voxels = np.frombuffer(data, np.uint8).reshape(self.shape, order="F")
        if voxels.max(initial=0) > 1:
            raise ValueError(f"holds the value {voxels.max()}; expected 0 and 1")
        return voxels

    @cached_property
    def _turn(self) -> Array:
        from nibabel.orientations import io_orientation

        turn: Array = io_orientation(self.native_affine).astype(int)
        return turn
