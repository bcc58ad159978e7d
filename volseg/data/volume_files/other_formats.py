"""MetaImage and NRRD, read by ITK; their units and orientation are read from the text of the header."""

import math
import re
from pathlib import Path

import numpy as np

from volseg.data.volume import FLAT, Affine, Array
from volseg.data.volume_files.endings import FORMATS, split_ending
from volseg.errors import UserError

READERS = {"MetaImage": "MetaImageIO", "NRRD": "NrrdImageIO"}
UNITS_MM = {
    **dict.fromkeys(("", "?", "mm", "millimeter", "millimeters", "millimetre", "millimetres"), 1.0),
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "micrometer", "micrometers"), 0.001),
    **dict.fromkeys(("micrometre", "micrometres"), 0.001),
    **dict.fromkeys(("cm", "centimeter", "centimeters", "centimetre", "centimetres"), 10.0),
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), 1000.0),
}
SPACES = {
    f"{side}{front}superior{time}"
    for side in ("left-", "right-")
    for front in ("posterior-", "anterior-")
    for time in ("", "-time")
} - {"right-posterior-superior", "right-posterior-superior-time"}
"""The spaces that ITK turns to its own."""
SHORT_SPACES = {"las", "lps", "ras", "last", "lpst", "rast"}
HEADER = 1 << 16  # bytes in which a header's text ends
_NUMBER = re.compile(r"[+-]?[0-9]*\.?[0-9]+\.?([eE][+-]?[0-9]+)?")
_DETACHED = re.compile(rb"^(?:ElementDataFile *= *|data ?file: *)([^\r\n\0]+?) *\r?$", re.M)


def read_image(path: Path) -> tuple[Array, Affine]:
    """Voxels and affine by ITK, whose world runs to the left and the back, NIfTI's to the right and front."""
    import SimpleITK as sitk

    _check_header(path)
    image = sitk.ReadImage(str(path), imageIO=_itk_reader(path))
    size = image.GetDimension()
    if size != 3:
        raise UserError(f"it has {size} dimensions")
    voxels = sitk.GetArrayFromImage(image)  # (Z, Y, X), behind them the channels if there are some
    affine = _ras_affine(image, _unit_mm(_header_text(path)))
    return np.moveaxis(voxels, (0, 1, 2), (2, 1, 0)), affine


def read_grid(path: Path) -> tuple[tuple[int, ...], Affine]:
    """Shape and affine, without voxels."""
    import SimpleITK as sitk

    _check_header(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO(_itk_reader(path))
    reader.ReadImageInformation()
    if reader.GetDimension() != 3:
        raise UserError(f"it has {reader.GetDimension()} dimensions")
    return tuple(reader.GetSize()), _ras_affine(reader, _unit_mm(_header_text(path)))


def header_oddities(path: Path) -> list[str]:
    """A line for each thing that the header should say, or says otherwise than in mm."""
    header = _header_text(path)
    odd = []
    if (factor := _unit_mm(header)) != 1:
        odd.append(f"its header gives lengths in units of {factor:g} mm; they were converted to mm")
    if FORMATS[split_ending(path.name)[1].lower()] == "NRRD":
        space = header.get("space", "").lower()
        known = space in SPACES or space in SHORT_SPACES
        reason = "" if known else f"space is {space}" if space else "it has no space"
    else:
        known = bool({"transformmatrix", "rotation", "orientation"}.intersection(header))
        reason = "" if known else "it has no TransformMatrix"
    if reason:
        odd.append(f"its header states no orientation ({reason}); left and right are a guess")
    if not {"elementspacing", "elementsize", "spacings", "spacedirections"}.intersection(header):
        odd.append("its header states no voxel size; taken for 1 mm")
    sizes = _axis_sizes(header)
    if "spacings" in header and not np.isfinite(sizes).all():
        odd.append("its header states no voxel size of an axis; taken for 1 mm")
    if any(size < 0 for size in sizes):
        odd.append("its header states a voxel size below 0; its axis is taken to run the other way")
    return odd


def detached_files(path: Path) -> list[Path]:
    """The files of voxels beside an mhd or nhdr header; of other formats none.

    A header with a list or a pattern of names may mean any file beside it.
    """
    if path.suffix.lower() not in (".mhd", ".nhdr") or not path.is_file():
        return []
    named = _DETACHED.search(path.read_bytes())
    file = path.parent / named[1].decode("utf-8", "surrogateescape") if named else path
    if named and file.is_file():
        return [file]
    return sorted(other for other in path.parent.iterdir() if other.is_file() and other != path)


def _check_header(path: Path) -> None:
    """Refuse what ITK refuses in words of its own: voxels in a file that is gone, voxel sizes of 0."""
    named = _DETACHED.search(path.read_bytes()) if path.suffix.lower() in (".mhd", ".nhdr") else None
    file = named[1].decode("utf-8", "surrogateescape") if named else "LOCAL"
    several = file.split()[0] in ("LOCAL", "LIST") or "%" in file
    if not several and not (path.parent / file).is_file():
        raise UserError(f"its voxels should be in {file}, which is not there; copy it beside the header")
    header = _header_text(path)
    if 0.0 in _axis_sizes(header):
        raise UserError("its header states a voxel size of 0; expected sizes above 0 mm")
    matrix = _numbers(header.get("transformmatrix", ""))
    if len(matrix) == 9 and abs(np.linalg.det(np.reshape(matrix, (3, 3)))) <= FLAT:
        raise UserError("its TransformMatrix has no volume; expected three axes at right angles")


def _axis_sizes(header: dict[str, str]) -> list[float]:
    """The voxel sizes that a header states, as they stand there."""
    return _numbers(header.get("elementspacing") or header.get("spacings", ""))


def _numbers(text: str) -> list[float]:
    """The numbers of a field; NaN for a word that is none."""
    return [float(word) if _NUMBER.fullmatch(word) else math.nan for word in text.split()]


def _itk_reader(path: Path) -> str:
    return READERS[FORMATS[split_ending(path.name)[1].lower()]]


def _ras_affine(image: object, unit_mm: float) -> Affine:
    """The affine of an image, or of a reader that has read its header."""
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()  # type: ignore[attr-defined]
    affine[:3, 3] = image.GetOrigin()  # type: ignore[attr-defined]
    affine[:3] *= unit_mm
    affine[:2] *= -1
    return affine


def _header_text(path: Path) -> dict[str, str]:
    """The fields of the header, their names in small letters and without blanks."""
    with path.open("rb") as file:
        head = file.read(HEADER)
    end = re.search(rb"\r?\n\r?\n|^ElementDataFile", head, re.MULTILINE)
    text = head[: end.start() if end else None].decode("utf-8", "replace")
    fields = (re.match(r"([A-Za-z][A-Za-z ]*?) *(?::(?!=)|=) *(.*)", line) for line in text.splitlines())
    return {match[1].lower().replace(" ", ""): match[2].strip() for match in fields if match}


def _unit_mm(header: dict[str, str]) -> float:
    """The unit of lengths in mm.

    Raises:
        UserError: several units, or one that is none of lengths.
    """
    text = header.get("spaceunits") or header.get("distanceunits") or header.get("units", "")
    units = [unit for unit in re.findall(r'"([^"]*)"', text) if unit] if '"' in text else [text]
    sizes = {UNITS_MM.get(unit.strip().lower(), 0.0) for unit in units} or {1.0}
    if len(sizes) > 1 or 0.0 in sizes:
        raise UserError(f"its lengths are in {text}; expected one unit, such as mm")
    return sizes.pop()
