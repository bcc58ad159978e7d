"""The header of a NIfTI file: the affine that it states, in mm, and what is odd about it."""

import logging
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from volseg.data.volume import (
    LARGEST_MM,
    NIFTI_UNITS_MM,
    SAME_GRID,
    SMALLEST_MM,
    Affine,
    NiftiPlace,
    affine_distance,
)

LENGTH = 540  # bytes of the longer of the two forms
UNIT_NAMES = {1: "metres", 3: "micrometres"}
SHEAR_TOLD = 0.02  # degrees off a right angle; storing in 32 bits makes a thousandth
SHEAR_UNUSABLE = 1.0


@dataclass(frozen=True)
class NiftiHeader:
    """A NIfTI header, by nibabel's; volseg goes by the sform as nibabel does, unless it is unusable."""

    raw: Any

    @classmethod
    def from_bytes(cls, data: bytes) -> "NiftiHeader":
        """The header at the beginning of a file's bytes."""
        import nibabel

        size = min(int.from_bytes(data[:4], "little"), int.from_bytes(data[:4], "big"))
        kind = nibabel.Nifti2Header if size == LENGTH else nibabel.Nifti1Header
        return cls(kind(data[: kind.template_dtype.itemsize], check=False))  # without its extensions

    @cached_property
    def fields(self) -> Any:
        """The header as nibabel mends it; its errors are raised."""
        mended = self.raw.copy()
        mended.check_fix(logger=logging.Logger("silent", logging.CRITICAL), error_level=40)
        return mended

    @property
    def is_second(self) -> bool:
        """Whether it is NIfTI-2."""
        return int(self.raw["sizeof_hdr"]) == LENGTH

    @property
    def shape(self) -> tuple[int, ...]:
        """The voxels along each axis, as stated."""
        return tuple(map(int, self.fields.get_data_shape()))

    @property
    def stated_bytes(self) -> int:
        """The length of the file that the header promises, unpacked."""
        return int(self.fields.get_data_offset()) + math.prod(self.shape) * int(
            self.fields.get_data_dtype().itemsize
        )

    @property
    def unit(self) -> int:
        """The code of the unit of lengths."""
        return int(self.fields["xyzt_units"]) & 7

    @cached_property
    def affine(self) -> Affine:
        """From voxel index to RAS+ mm: the sform, else the qform, else voxel sizes only."""
        affine = self._sform if self._goes_by_sform else self._qform
        if affine is None:
            affine = self._read_form("sform") if self._code("sform") else self.fields.get_base_affine()
        in_mm: Affine = np.array(affine, dtype=np.float64)
        in_mm[:3] *= NIFTI_UNITS_MM.get(self.unit, 1.0)
        return in_mm

    @property
    def place(self) -> NiftiPlace:
        """What masks on this grid take over; voxel sizes that are none follow the affine."""
        one = self.raw
        sizes = np.linalg.norm(self.affine[:3, :3], axis=0) / NIFTI_UNITS_MM.get(self.unit, 1.0)
        pixdim = [float(one["pixdim"][0])] + [
            float(stated) if np.isfinite(stated) and stated > 0 else float(size)
            for stated, size in zip(one["pixdim"][1:4], sizes, strict=True)
        ]
        return NiftiPlace(
            qform_code=self._code("qform"),
            sform_code=self._code("sform"),
            pixdim=tuple(pixdim),
            quaternion=tuple(float(one[f"quatern_{name}"]) for name in "bcd"),
            offset=tuple(float(one[f"qoffset_{name}"]) for name in "xyz"),
            sform=tuple(tuple(map(float, one[f"srow_{name}"])) for name in "xyz"),
            unit=self.unit if self.unit in NIFTI_UNITS_MM else 0,
        )

    def oddities(self) -> list[str]:
        """A line for each fault of the header."""
        lines = type(self.raw).diagnose_binaryblock(self.raw.binaryblock, self.raw.endianness)
        odd = [f"its header is odd: {line}" for line in lines.splitlines() if "qfac" not in line]
        if not self._goes_by_sform and (self.raw["pixdim"][1:4] == 0).any():
            size = NIFTI_UNITS_MM.get(self.unit, 1.0)
            odd.append(f"its header states a voxel size of 0; taken for {size:g} mm")
        if not (self._code("qform") or self._code("sform")):
            reason = "qform and sform codes are 0"
            odd.append(f"its header states no orientation ({reason}); left and right are a guess")
        return [*odd, *self._form_oddities(), *self._unit_oddities()]

    def _form_oddities(self) -> list[str]:
        """What is odd about the two affines of the header."""
        followed = "sform" if self._goes_by_sform else "qform"
        shear = 0.0 if self._sform is None else shear_degrees(self._sform)
        odd = []
        if self._code("sform") and self._sform is None:
            odd.append(f"its sform is none of a volume; volseg goes by the {followed}")
        elif shear > SHEAR_TOLD:
            angle = f"the axes of its sform are {shear:.2g} degrees off a right angle (shear)"
            odd.append(f"{angle}; volseg goes by the {followed}, and ITK's programs may not open it")
        if self._sform is not None and self._qform is not None:
            shape = (*self.shape, 1, 1, 1)[:3]
            if affine_distance(self._sform, self._qform, shape) > SAME_GRID:
                far = corner_distance(self._sform, self._qform, shape) * NIFTI_UNITS_MM.get(self.unit, 1.0)
                odd.append(
                    f"its qform and sform disagree by {far:.3g} mm at the farthest corner; volseg goes by "
                    f"the {followed}, programs that go by the other see the image elsewhere"
                )
        return odd

    def _unit_oddities(self) -> list[str]:
        if self.unit in UNIT_NAMES:
            return [f"its header gives lengths in {UNIT_NAMES[self.unit]}; they were converted to mm"]
        if self.unit not in NIFTI_UNITS_MM:
            return [f"its header has an unknown unit of lengths (code {self.unit}); taken for mm"]
        return []

    @cached_property
    def _goes_by_sform(self) -> bool:
        if self._sform is None:
            return False
        return self._qform is None or shear_degrees(self._sform) <= SHEAR_UNUSABLE

    @cached_property
    def _sform(self) -> Affine | None:
        return self._usable_form("sform")

    @cached_property
    def _qform(self) -> Affine | None:
        return self._usable_form("qform")

    def _usable_form(self, name: str) -> Affine | None:
        """An affine of the header that can be a volume's, else None."""
        affine = self._read_form(name) if self._code(name) else None
        if affine is None or not np.isfinite(affine).all():
            return None
        sizes = np.linalg.norm(affine[:3, :3], axis=0) * NIFTI_UNITS_MM.get(self.unit, 1.0)
        plausible = sizes.min() >= SMALLEST_MM and sizes.max() <= LARGEST_MM
        return affine if plausible and shear_degrees(affine) < 89 else None

    def _read_form(self, name: str) -> Affine | None:
        """The header's sform or qform; None for a quaternion that is none."""
        from nibabel.spatialimages import HeaderDataError

        try:
            affine: Affine = np.asarray(getattr(self.fields, f"get_{name}")(), dtype=np.float64)
        except (ValueError, HeaderDataError):
            return None
        return affine

    def _code(self, name: str) -> int:
        return max(0, int(self.fields[f"{name}_code"]))


def shear_degrees(affine: Affine) -> float:
    """How far the axes of an affine are off a right angle at most."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    products = np.abs(axes.T @ axes - np.eye(3)).max()
    return math.degrees(math.asin(min(1.0, products)))


def corner_distance(affine: Affine, other: Affine, shape: tuple[int, ...]) -> float:
    """How far the farthest corner of a grid moves from one affine to the other, in their unit."""
    ends = np.array(np.meshgrid(*((0, length - 1) for length in shape), [1])).reshape(4, -1)
    return float(np.linalg.norm(((affine - other) @ ends)[:3], axis=0).max())
