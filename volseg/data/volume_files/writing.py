"""Writing of volumes as NIfTI."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from volseg.data.volume import Array, NiftiPlace, Volume
from volseg.system.files import atomic_path

LEVEL = 1  # isal's: as small as zlib's level 1 in a fraction of the time (benchmarks/prepare.py)


def write_volume(volume: Volume, path: Path, *, slope: float = 1.0) -> None:
    """Write NIfTI atomically in the voxels' type; `.nii.gz` is compressed.

    Readers multiply the voxels by `slope`. The same volume gives the same bytes, without time or name.
    """
    header, data = _nifti_parts(volume, slope)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        for part in _compress_gzip(header, data) if path.suffix == ".gz" else (header, data):
            file.write(part)


def encode_nifti(volume: Volume) -> bytes:
    """The content of an uncompressed NIfTI file of a volume, in the voxels' type."""
    return b"".join(_nifti_parts(volume, 1.0))


def _nifti_parts(volume: Volume, slope: float) -> tuple[bytes, memoryview]:
    """The header, and the voxels as they lie in a file."""
    voxels = _storable(volume.voxels)
    data = np.ascontiguousarray(voxels.T).reshape(-1).view(np.uint8).data  # no copy of a stack
    return _nifti_header(voxels, volume, slope), data


def _storable(voxels: Array) -> Array:
    """The same numbers in a type that every NIfTI reader knows."""
    if voxels.dtype == np.bool_:
        return voxels.view(np.uint8)
    if voxels.dtype in (np.int64, np.uint64):
        return voxels.astype(np.float64 if voxels.size and np.abs(voxels).max() >= 2**31 else np.int32)
    return voxels.astype(np.float32) if voxels.dtype == np.float16 else voxels


def _nifti_header(voxels: Array, volume: Volume, slope: float) -> bytes:
    """The 352 bytes in front of the voxels, as nibabel would write them."""
    import nibabel

    header = nibabel.Nifti1Header()
    header.set_data_dtype(voxels.dtype)
    header.set_data_shape(voxels.shape)
    header.set_sform(volume.affine, code="aligned")
    header.set_qform(volume.affine, code="unknown")  # oblique axes with shear fit only the sform
    header.set_xyzt_units("mm")
    if volume.place:
        _take_place(header, volume.place)
    header.set_slope_inter(slope, 0)
    header["magic"] = b"n+1"
    header["vox_offset"] = 352
    return bytes(header.binaryblock) + bytes(4)


def _take_place(header: object, place: NiftiPlace) -> None:
    """Put into nibabel's header what the image's header says of its place."""
    fields: dict[str, object] = {"qform_code": place.qform_code, "sform_code": place.sform_code}
    fields |= {f"quatern_{name}": value for name, value in zip("bcd", place.quaternion, strict=True)}
    fields |= {f"qoffset_{name}": value for name, value in zip("xyz", place.offset, strict=True)}
    fields |= {f"srow_{name}": row for name, row in zip("xyz", place.sform, strict=True)}
    for name, value in {**fields, "xyzt_units": place.unit}.items():
        header[name] = value  # type: ignore[index]
    header["pixdim"][:4] = place.pixdim  # type: ignore[index]


def _compress_gzip(*parts: "bytes | memoryview") -> Iterator[bytes]:
    from isal import isal_zlib

    packer = isal_zlib.compressobj(LEVEL, wbits=31)
    yield from map(packer.compress, parts)
    yield packer.flush()
