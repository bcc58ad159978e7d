"""What a file really is, by its first bytes, and what to do with it."""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from volseg.data.volume_files.endings import FORMATS, split_ending
from volseg.formatting import first_few
from volseg.system.files import GZIP

HEAD = 1024  # bytes that tell what a file is
LOOKED_AT = 200  # files of a folder
DICOM = "DICOM, which is not read; convert the series to one volume with dcm2niix"
_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"NRRD", "NRRD"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself; fetch that by `git lfs pull`"),
    (b"II*\0", "a TIFF picture, which has no voxel size in mm; save it as NIfTI"),
    (b"MM\0*", "a TIFF picture, which has no voxel size in mm; save it as NIfTI"),
    (b"II+\0", "a TIFF picture, which has no voxel size in mm; save it as NIfTI"),
    (b"\x89PNG", "a PNG picture; give the folder of a scan's slices, or a volume"),
    (b"\xff\xd8\xff", "a JPEG picture; give a volume"),
    (b"\0\0\0\x0cjP", "a JPEG 2000 picture; give a volume"),
    (b"GIF8", "a GIF picture; give a volume"),
    (b"BM", "a BMP picture; give a volume"),
    (b"PK\3\4", "a zip archive; unpack it"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it"),
    (b"Rar!", "a RAR archive; unpack it"),
    (b"BZh", "compressed by bzip2; unpack it"),
    (b"\xfd7zXZ", "compressed by xz; unpack it"),
    (b"(\xb5/\xfd", "compressed by zstd; unpack it"),
    (b"\x89HDF", "HDF5 (MINC 2, MATLAB 7.3 or another program's); save it as NIfTI"),
    (b"CDF", "NetCDF or MINC 1; convert it to NIfTI, MINC by mnc2nii"),
    (b"MATLAB", "a MATLAB file, which has no voxel size; save it as NIfTI"),
    (b"\x93NUMPY", "a NumPy array, which has no place in the patient; save it as NIfTI with its affine"),
    (b"%PDF", "a PDF document"),
    (b"\0\0\0\1\0\0", "MGH or MGZ of FreeSurfer; convert it to NIfTI by mri_convert"),
)
_VALUE_TYPES = frozenset(
    b"AE AS AT CS DA DS DT FL FD IS LO LT OB OD OF OW PN SH SL SQ SS ST TM UI UL UN US UT".split()
)


def file_content(head: bytes) -> str:
    """What a file with these first bytes is, as `a PNG picture; give ...`; a format's name if it is read.

    Compressed bytes are looked into.
    """
    if not head:
        return "an empty file; copy or download it again"
    if head[:2] == GZIP:
        content = _decompress_head(head)
        if not content:
            return "compressed by gzip, and damaged or cut off; copy or download it again"
        if content[:2] == GZIP:
            return "compressed by gzip twice; unpack it once"
        inner = file_content(content)
        return inner if inner == "NIfTI" else f"compressed by gzip, in it is {inner}"
    if _is_dicom(head):
        return DICOM
    known = next((meaning for start, meaning in _STARTS if head.startswith(start)), "")
    return known or _nifti_like(head) or _text_content(head) or "of no known format; is it the right file?"


def read_head(path: Path) -> bytes:
    """The first bytes of a file."""
    with path.open("rb") as file:
        return file.read(HEAD)


def missing_reason(path: Path, absent: str = "no such file") -> str:
    """Why there is no file of this path: `absent`, or what is there in its place."""
    if path.is_symlink() and not path.exists():
        target = str(path.readlink())
        advice = "fetch it by `datalad get` or `git annex get`" if "annex" in target else "restore that file"
        return f"a broken link to {target}; {advice}"
    return f"is a folder{folder_content(path)}" if path.is_dir() else absent


def folder_content(path: Path) -> str:
    """What lies in a folder that is no scan's, as ` with DICOM ...`; '' where that is not known."""
    files = [*islice((one for one in path.rglob("[!.]*") if one.is_file()), LOOKED_AT)]
    places = [file.relative_to(path) for file in files if split_ending(file.name)[1]]
    volumes = sorted(map(str, [place for place in places if len(place.parts) == 1] or places))
    if volumes:
        return f" with volumes ({', '.join(first_few(volumes, 'files'))})"
    return f" with {DICOM}" if any(_is_dicom(_head_or_nothing(file)) for file in files) else ""


def _head_or_nothing(path: Path) -> bytes:
    try:
        return read_head(path)
    except OSError:
        return b""


def _decompress_head(head: bytes) -> bytes:
    """The unpacked first bytes; none where they are damaged, or are a whole file that is cut off."""
    from isal import isal_zlib

    unpacker = isal_zlib.decompressobj(wbits=31)
    try:
        content = bytes(unpacker.decompress(head))
        return content if unpacker.eof or len(head) == HEAD else b""
    except isal_zlib.error:  # type: ignore[misc]
        return b""


def _is_dicom(head: bytes) -> bool:
    """Whether it is DICOM, also without the 128 bytes in front of its data."""
    if head[128:132] == b"DICM":
        return True
    group, length = head[:2], int.from_bytes(head[4:8], "little")
    if group not in (b"\2\0", b"\x08\0") or head[3:4] != b"\0" or len(head) < 16:
        return False
    return head[4:6] in _VALUE_TYPES or (
        length <= 64 and head[8 + length : 10 + length] in (group, b"\x08\0")
    )


def _nifti_like(head: bytes) -> str:
    """NIfTI, or a form of it that is not read; '' for anything else."""
    size = min(int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big"))
    if size not in (348, 540):
        return ""
    magic = head[344:347] if size == 348 else head[4:7]
    if magic in (b"n+1", b"n+2"):
        return "NIfTI"
    if magic in (b"ni1", b"ni2"):
        return "the header of a pair of NIfTI files (.hdr and .img); save the pair as one .nii.gz"
    return "Analyze 7.5, which states no left and right; convert it to NIfTI"


def _text_content(head: bytes) -> str:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    lower = text[:200].lower()
    if lower.startswith((b"<!doctype html", b"<html")):
        return "a web page (HTML), such as one to sign in or of an error; download the file again"
    if re.search(rb"^NDims\s*=", text, re.MULTILINE):
        return "MetaImage"
    if re.match(rb"(\.\./)*(\.git/|/)annex/objects/", text):
        return "a git-annex pointer, not the file itself; fetch that by `datalad get` or `git annex get`"
    if head[257:262] == b"ustar":
        return "a tar archive; unpack it"
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in text):
        line = next(iter(_lines(text)), "")
        return f"a text that begins with {line!r}; is it the right file?"
    return ""


def _lines(text: bytes) -> Iterator[str]:
    yield from (line[:40] for line in text.decode("ascii").splitlines() if line.strip())


def content_fault(path: Path, head: bytes) -> str:
    """Why a file is not the volume that its ending promises; '' where it is, or its reader knows more."""
    if not head:
        return "zero bytes; copy or download it again"
    ending = split_ending(path.name)[1].lower()
    content = file_content(head)
    if content in FORMATS.values():
        fitting = [known for known, of_format in FORMATS.items() if of_format == content]
        return "" if ending in fitting else f"it is {content}; rename it to end in {' or '.join(fitting)}"
    return f"it is {content}"
