"""Files of volumes: reading NIfTI, mha and nrrd, writing NIfTI."""

import gzip
import io
import logging
import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from volseg.data.volume import LARGEST_MM, SMALLEST_MM, Affine, Array, Volume
from volseg.errors import UserError
from volseg.system.files import atomic_path

NIFTI = (".nii", ".nii.gz")
LEVEL = 1  # isal's: as small as zlib's level 1 in a fraction of the time (benchmarks/prepare.py)
_DETACHED = re.compile(rb"^(?:ElementDataFile *= *|data ?file: *)([^\r\n\0]+?) *\r?$", re.M)


def write_volume(volume: Volume, path: Path, *, slope: float = 1.0) -> None:
    """Write NIfTI atomically in the voxels' type; `.nii.gz` is compressed.

    Readers multiply the voxels by `slope`. The same volume gives the same bytes, without time or name.
    """
    voxels = _storable(volume.voxels)
    header = _nifti_header(voxels, volume.affine, slope)
    data = np.ascontiguousarray(voxels.T).reshape(-1).view(np.uint8).data  # no copy of a stack
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        for part in _compress_gzip(header, data) if path.suffix == ".gz" else (header, data):
            file.write(part)


def read(path: Path) -> Volume:
    """A 3D volume in its stored type: NIfTI (scaled integers become float32), mha, nrrd ...

    Raises:
        UserError: missing, unreadable, truncated or not 3D.
    """
    volumes = read_channels(path)
    if len(volumes) != 1:
        shape = (*volumes[0].voxels.shape, len(volumes))
        raise UserError(f"{path}: has 4 dimensions {shape}; expected a 3D volume")
    return volumes[0]


def read_channels(path: Path) -> list[Volume]:
    """The channels of a volume of three dimensions, or of four, the last for channels.

    Raises:
        UserError: missing, unreadable, truncated or of other dimensions.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected a volume")
    try:
        voxels, affine = _read_nifti(path) if path.name.endswith(NIFTI) else _read_other(path)
    except MemoryError:
        raise
    except Exception as error:  # nibabel, zlib and ITK raise many kinds for a damaged file
        reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise UserError(f"{path}: not a readable volume ({reason[0]})") from error
    if voxels.ndim not in (3, 4) or 0 in voxels.shape:
        raise UserError(f"{path}: its shape is {voxels.shape}; expected a 3D volume")
    if voxels.dtype.kind not in "biuf":
        raise UserError(f"{path}: its voxels are {voxels.dtype}; expected one number each")
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise UserError(f"{path}: its affine has no volume; expected voxel sizes above 0 mm")
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    if sizes.min() < SMALLEST_MM or sizes.max() > LARGEST_MM:
        size = " x ".join(f"{mm:g}" for mm in sizes)
        raise UserError(f"{path}: voxels of {size} mm; expected {SMALLEST_MM:g} to {LARGEST_MM:g} mm")
    voxels = voxels.astype(voxels.dtype.newbyteorder("="), copy=False)
    channels = [voxels] if voxels.ndim == 3 else list(np.moveaxis(voxels, 3, 0))
    return [Volume(channel, affine) for channel in channels]


def read_shape(path: Path) -> tuple[int, ...]:
    """The shape in a NIfTI file's header.

    Raises:
        UserError: missing or unreadable.
    """
    import nibabel

    if not path.is_file():
        raise UserError(f"{path}: no such file; run `volseg prepare` again")
    try:
        return tuple(nibabel.nifti1.Nifti1Image.from_filename(path).shape)
    except Exception as error:  # as in `read`
        raise UserError(f"{path}: not a readable volume ({type(error).__name__})") from error


def detached_files(path: Path) -> list[Path]:
    """The files of voxels beside an mhd or nhdr header; of other formats none.

    A header with a list or a pattern of names may mean any file beside it.
    """
    if path.suffix not in (".mhd", ".nhdr") or not path.is_file():
        return []
    named = _DETACHED.search(path.read_bytes())
    file = path.parent / named[1].decode("utf-8", "surrogateescape") if named else path
    if named and file.is_file():
        return [file]
    return sorted(other for other in path.parent.iterdir() if other.is_file() and other != path)


def header_oddities(path: Path) -> list[str]:
    """A line for each fault of a NIfTI header, and one where it states no orientation."""
    import nibabel

    if not path.name.endswith(NIFTI):
        return []
    try:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rb") as file:
            block = file.read(540)
        kind = nibabel.Nifti2Header if _header_size(block) == 540 else nibabel.Nifti1Header
        header = kind.from_fileobj(io.BytesIO(block), check=False)
        lines = kind.diagnose_binaryblock(header.binaryblock, header.endianness).splitlines()
    except Exception:  # `read` tells what is wrong with the file
        return []
    oddities = [f"its header is odd: {line}" for line in lines if "qfac" not in line]
    if not (int(header["qform_code"]) or int(header["sform_code"])):
        reason = "qform and sform codes are 0"
        oddities.append(f"its header states no orientation ({reason}); left and right are a guess")
    return oddities


def _read_nifti(path: Path) -> tuple[Array, Affine]:
    import nibabel

    data = path.read_bytes()
    if not data:
        raise ValueError("zero bytes; copy or download it again")
    if data[:2] == b"\x1f\x8b":  # gzip
        from isal import igzip

        data = igzip.decompress(data)  # type: ignore[no-untyped-call]
    elif path.suffix == ".gz":
        raise ValueError("not a gzip file")
    kind = nibabel.Nifti2Image if _header_size(data) == 540 else nibabel.Nifti1Image
    log = logging.getLogger("nibabel.global")
    log.disabled = True  # `header_oddities` tells them with the file's name
    try:
        image = kind.from_bytes(data)
    finally:
        log.disabled = False
    stated = image.dataobj.offset + math.prod(image.shape) * image.get_data_dtype().itemsize
    if stated > len(data):  # before nibabel takes memory for what is not there
        raise ValueError(f"truncated: {len(data)} bytes of the {stated} that its header states")
    slope, intercept = image.header.get_slope_inter()
    plain = (slope, intercept) in ((None, None), (1.0, 0.0))
    voxels = np.asarray(image.dataobj) if plain else image.get_fdata(dtype=np.float32)
    return voxels, np.asarray(image.affine, dtype=np.float64)


def _header_size(data: bytes) -> int:
    """The first number of a NIfTI header, in the byte order in which it was written."""
    return min(int.from_bytes(data[:4], "little"), int.from_bytes(data[:4], "big"))


def _read_other(path: Path) -> tuple[Array, Affine]:
    """Voxels and affine by ITK, whose world runs to the left and the back, NIfTI's to the right and front."""
    import SimpleITK as sitk

    image = sitk.ReadImage(str(path))
    size = image.GetDimension()
    if size != 3:
        raise UserError(f"it has {size} dimensions")
    voxels = sitk.GetArrayFromImage(image)  # (Z, Y, X), behind them the channels if there are some
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    affine[:2] *= -1
    return np.moveaxis(voxels, (0, 1, 2), (2, 1, 0)), affine


def _storable(voxels: Array) -> Array:
    """The same numbers in a type that every NIfTI reader knows."""
    if voxels.dtype == np.bool_:
        return voxels.view(np.uint8)
    if voxels.dtype in (np.int64, np.uint64):
        return voxels.astype(np.float64 if voxels.size and np.abs(voxels).max() >= 2**31 else np.int32)
    return voxels.astype(np.float32) if voxels.dtype == np.float16 else voxels


def _nifti_header(voxels: Array, affine: Affine, slope: float) -> bytes:
    """The 352 bytes in front of the voxels, as nibabel would write them."""
    import nibabel

    header = nibabel.Nifti1Header()
    header.set_data_dtype(voxels.dtype)
    header.set_data_shape(voxels.shape)
    header.set_sform(affine, code="aligned")
    header.set_qform(affine, code="unknown")  # oblique axes with shear fit only the sform
    header.set_xyzt_units("mm")
    header.set_slope_inter(slope, 0)
    header["magic"] = b"n+1"
    header["vox_offset"] = 352
    return bytes(header.binaryblock) + bytes(4)


def _compress_gzip(*parts: "bytes | memoryview") -> Iterator[bytes]:
    from isal import isal_zlib

    packer = isal_zlib.compressobj(LEVEL, wbits=31)
    yield from map(packer.compress, parts)
    yield packer.flush()
