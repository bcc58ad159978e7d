"""Reading of volumes, and of their headers alone."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from volseg.data.volume import FLAT, LARGEST_MM, SMALLEST_MM, Affine, Array, NiftiPlace, Volume
from volseg.data.volume_files import other_formats
from volseg.data.volume_files.endings import PROMISED, split_ending
from volseg.data.volume_files.file_content import content_fault, missing_reason, read_head
from volseg.data.volume_files.nifti_header import LENGTH, SHEAR_TOLD, UNIT_NAMES, NiftiHeader, shear_degrees
from volseg.errors import UserError
from volseg.system.files import GZIP

USUAL_MM = (0.02, 20.0)  # of a voxel's sides; others are told
PACKED_HEADER = 1 << 16  # bytes in which a packed header ends


class VolumeHeader(NamedTuple):
    """What a volume's header says: shape (X, Y, Z), affine to RAS+ mm, and a line for each oddity.

    `place` is as a volume's.
    """

    shape: tuple[int, ...]
    affine: Affine
    oddities: tuple[str, ...] = ()
    place: NiftiPlace | None = None


def read(path: Path) -> Volume:
    """A 3D volume in its stored type: NIfTI (scaled integers become float32), MetaImage or NRRD.

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
        UserError: missing, unreadable, truncated, of other dimensions, or no format that is read.
    """
    _check_content(path)
    try:
        volume = _read_nifti(path) if _is_nifti(path) else Volume(*other_formats.read_image(path))
    except MemoryError:
        raise
    except Exception as error:  # nibabel, zlib and ITK raise many kinds for a damaged file
        raise _unreadable(path, error) from error
    voxels = _channels_last(volume.voxels)
    if voxels.ndim not in (3, 4) or 0 in voxels.shape:
        raise UserError(f"{path}: its shape is {voxels.shape}; expected a 3D volume")
    if voxels.dtype.kind not in "biuf":
        raise UserError(f"{path}: its voxels are {voxels.dtype}; expected one number each")
    _check_affine(path, volume.affine, volume.place.unit if volume.place else 0)
    voxels = voxels.astype(voxels.dtype.newbyteorder("="), copy=False)
    channels = [voxels] if voxels.ndim == 3 else list(np.moveaxis(voxels, 3, 0))
    return [volume.with_voxels(channel) for channel in channels]


def read_header(path: Path) -> VolumeHeader:
    """The header of a volume, without its voxels.

    Raises:
        UserError: missing or unreadable.
    """
    _check_content(path)
    try:
        header = _read_nifti_header(path) if _is_nifti(path) else _read_other_header(path)
    except Exception as error:  # as in `read_channels`
        raise _unreadable(path, error) from error
    if min(header.shape, default=0) < 1:
        raise UserError(f"{path}: its shape is {header.shape}; expected a 3D volume")
    _check_affine(path, header.affine)
    sizes = np.linalg.norm(header.affine[:3, :3], axis=0)
    if sizes.min() < USUAL_MM[0] or sizes.max() > USUAL_MM[1]:
        size = " x ".join(f"{mm:.4g}" for mm in sizes)
        unusual = f"its voxels are {size} mm; are the lengths in its header in another unit?"
        header = header._replace(oddities=(*header.oddities, unusual))
    return header


def _read_nifti_header(path: Path) -> VolumeHeader:
    header = NiftiHeader.from_bytes(_first_bytes(path))
    oddities = (*header.oddities(), *_surplus_oddities(path, header))
    return VolumeHeader(header.shape, header.affine, oddities, header.place)


def _read_other_header(path: Path) -> VolumeHeader:
    shape, affine = other_formats.read_grid(path)
    oddities = other_formats.header_oddities(path)
    if (shear := shear_degrees(affine)) > SHEAR_TOLD:
        angle = f"its axes are {shear:.2g} degrees off a right angle (shear)"
        oddities.append(f"{angle}; ITK's programs may not open its masks")
    return VolumeHeader(shape, affine, tuple(oddities))


def _check_content(path: Path) -> None:
    """Refuse a path that is no file, or a file that is no volume of a format that is read."""
    if not path.is_file():
        raise UserError(f"{path}: {missing_reason(path)}; expected a volume")
    try:
        head = read_head(path)
    except OSError as error:
        raise UserError(f"{path}: can't be read: {error.strerror}") from error
    if not split_ending(path.name)[1]:
        raise UserError(f"{path}: {content_fault(path, head)}; expected {PROMISED}")
    if fault := content_fault(path, head):
        raise UserError(f"{path}: not a readable volume ({fault})")


def _check_affine(path: Path, affine: Affine, unit: int = 0) -> None:
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) <= FLAT * sizes.prod():
        raise UserError(f"{path}: its affine has no volume; expected voxel sizes above 0 mm")
    if sizes.min() < SMALLEST_MM or sizes.max() > LARGEST_MM:
        size = " x ".join(f"{mm:g}" for mm in sizes)
        stated = f" (stated in {UNIT_NAMES[unit]})" if unit in UNIT_NAMES else ""
        raise UserError(f"{path}: voxels of {size} mm{stated}; expected {SMALLEST_MM:g} to {LARGEST_MM:g} mm")


def _is_nifti(path: Path) -> bool:
    return ".nii" in split_ending(path.name)[1].lower()


def _unreadable(path: Path, error: Exception) -> UserError:
    reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
    return UserError(f"{path}: not a readable volume ({reason[0]})")


def _channels_last(voxels: Array) -> Array:
    """Voxels (X, Y, Z) or (X, Y, Z, C), without axes of one voxel behind the third."""
    while voxels.ndim > 3 and 1 in voxels.shape[3:]:
        voxels = np.squeeze(voxels, axis=3 + voxels.shape[3:].index(1))
    return voxels


def _read_nifti(path: Path) -> Volume:
    import nibabel

    data = path.read_bytes()
    if data[:2] == GZIP:
        data, _ = _unpack(data)
    header = NiftiHeader.from_bytes(data)
    if header.stated_bytes > len(data):  # before nibabel takes memory for what is not there
        raise ValueError(f"truncated: {len(data)} bytes of the {header.stated_bytes} that its header states")
    kind = nibabel.Nifti2Image if header.is_second else nibabel.Nifti1Image
    log = logging.getLogger("nibabel.global")
    log.disabled = True  # `read_header` tells them with the file's name
    try:
        image = kind.from_bytes(data)
    finally:
        log.disabled = False
    plain = (image.dataobj.slope, image.dataobj.inter) == (1.0, 0.0)
    voxels = np.asarray(image.dataobj) if plain else image.get_fdata(dtype=np.float32)
    return Volume(voxels, header.affine, header.place)


def _unpack(data: bytes) -> tuple[bytes, int]:
    """The unpacked content of gzip, and the number of bytes behind its end, which are no gzip."""
    from isal import igzip, isal_zlib

    try:
        return igzip.decompress(data), 0  # type: ignore[no-untyped-call]
    except igzip.BadGzipFile as error:
        if "Not a gzipped file" not in str(error):
            raise
    parts = []
    while data[:2] == GZIP:
        member = isal_zlib.decompressobj(wbits=31)
        parts.append(member.decompress(data))
        data = member.unused_data
    return b"".join(parts), len(data)


def _first_bytes(path: Path) -> bytes:
    """As many bytes of a NIfTI file as its header has, unpacked."""
    from isal import isal_zlib

    with path.open("rb") as file:
        data = file.read(PACKED_HEADER)
    if data[:2] != GZIP:
        return data[:LENGTH]
    content = b""
    while data[:2] == GZIP and len(content) < LENGTH:
        member = isal_zlib.decompressobj(wbits=31)
        content += member.decompress(data, LENGTH)
        data = member.unused_data
    return content


def _surplus_oddities(path: Path, header: NiftiHeader) -> Iterator[str]:
    """A line on bytes behind the last voxel and behind the end of the compressed data."""
    stated, behind = header.stated_bytes, 0
    with path.open("rb") as file:
        packed = file.read(2) == GZIP
        file.seek(-4, 2)
        last = int.from_bytes(file.read(), "little")
        length = last if packed else file.tell()
    if packed and length != stated % 2**32:  # several parts, or others behind the end
        content, behind = _unpack(path.read_bytes())
        length = len(content)
    elif packed:
        length = stated
    if behind:
        yield f"{behind} bytes behind the end of its compressed data are left out"
    if length > stated:
        yield f"{length - stated} bytes behind its last voxel are left out"
