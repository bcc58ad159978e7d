"""Synthetic series of DICOM: valid files of a small MR or CT in any orientation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from volseg.data.volume import Array

TURN = np.deg2rad((12.0, 7.0))
FIRST_POSITION = (-40.0, -30.5, 20.25)
SOP_CLASSES = {"MR": "1.2.840.10008.5.1.4.1.1.4", "CT": "1.2.840.10008.5.1.4.1.1.2"}
DIRECTIONS = {  # along a row, down a column, in LPS+
    "axial": ((1, 0, 0), (0, 1, 0)),
    "axial_up": ((1, 0, 0), (0, -1, 0)),
    "axial_leftward": ((-1, 0, 0), (0, 1, 0)),
    "coronal": ((1, 0, 0), (0, 0, -1)),
    "coronal_up": ((1, 0, 0), (0, 0, 1)),
    "sagittal": ((0, 1, 0), (0, 0, -1)),
    "sagittal_up": ((0, 1, 0), (0, 0, 1)),
}
ORIENTATIONS = (*DIRECTIONS, "oblique")
PEOPLE: dict[str, dict[str, Any]] = {
    "plain": {},
    "japanese": {
        "SpecificCharacterSet": ["", "ISO 2022 IR 87"],
        "PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    },
    "accented": {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Zoé^Ångström"},
    "unicode": {"SpecificCharacterSet": "ISO_IR 192", "PatientName": "Łukasz^Ćwikła"},
}
PIXEL_KEYS = ("BitsStored", "PixelRepresentation", "PhotometricInterpretation", "PixelPaddingValue")


def directions_of(orientation: str) -> tuple[Array, Array]:
    """Unit vectors (3,) along a row and down a column, in LPS+."""
    if orientation != "oblique":
        row, column = DIRECTIONS[orientation]
        return np.array(row, float), np.array(column, float)
    (sine_x, sine_y), (cosine_x, cosine_y) = np.sin(TURN), np.cos(TURN)
    about_x = np.array([[1, 0, 0], [0, cosine_x, -sine_x], [0, sine_x, cosine_x]])
    about_y = np.array([[cosine_y, 0, sine_y], [0, 1, 0], [-sine_y, 0, cosine_y]])
    turn = about_x @ about_y
    return turn[:, 0], turn[:, 1]


def example_pixels(shape: tuple[int, int, int], modality: str = "MR") -> Array:
    """Stored pixels (planes, rows, columns), int16 and no two planes alike."""
    planes, rows, columns = np.indices(shape)
    pixels = 20 * planes + 3 * rows + 2 * columns + (rows * columns) % 7 + (100 if modality == "MR" else -900)
    return pixels.astype(np.int16)


def write_series(
    folder: Path,
    *,
    orientation: str = "axial",
    shape: tuple[int, int, int] = (14, 48, 64),
    spacing_mm: tuple[float, float, float] = (1.25, 1.5, 3.0),
    modality: str = "MR",
    pixels: Array | None = None,
    **tags: Any,
) -> list[Path]:
    """Write a file a plane; the paths are in the order of the planes along their normal.

    `shape` is (planes, rows, columns) and `spacing_mm` the distance of rows, of columns and of planes.
    `pixels` are the stored values, int16 or uint16. A tag is a value, None to leave it out, or a function of
    the plane's number from 0.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pixels = example_pixels(shape, modality) if pixels is None else pixels
    uids = {key: generate_uid() for key in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")}
    paths = []
    for number, plane in enumerate(pixels):
        dataset = _plane_header(orientation, spacing_mm, number)
        values = {**_common_tags(modality), **uids, **tags}
        for key, value in values.items():
            set_tag(dataset, key, value(number) if isinstance(value, Callable) else value)  # type: ignore[arg-type]
        _set_pixels(dataset, plane, tags)
        paths.append(folder / f"IM{number + 1:04d}.dcm")
        dataset.save_as(paths[-1], enforce_file_format=True)
    return paths


def set_tag(dataset: Dataset, key: str, value: Any) -> None:
    """Set a tag by its keyword, or take it out by None."""
    if value is not None:
        setattr(dataset, key, value)
    elif key in dataset:
        delattr(dataset, key)


def _plane_header(orientation: str, spacing_mm: tuple[float, float, float], number: int) -> FileDataset:
    """A file of one plane with its place, without pixels."""
    row, column = directions_of(orientation)
    position = np.add(FIRST_POSITION, number * spacing_mm[2] * np.cross(row, column))
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPInstanceUID = generate_uid()
    dataset.InstanceNumber = number + 1
    dataset.ImageOrientationPatient = [_decimal(value) for value in (*row, *column)]
    dataset.ImagePositionPatient = [_decimal(value) for value in position]
    dataset.PixelSpacing = [_decimal(value) for value in spacing_mm[:2]]
    dataset.SliceThickness = _decimal(spacing_mm[2])
    return dataset


def _decimal(value: float) -> str:
    """A decimal string of at most 16 characters."""
    return f"{value + 0.0:.10f}"[:16]


def _common_tags(modality: str) -> dict[str, Any]:
    """What every file says: a patient, a study, a scanner."""
    common = {
        "SOPClassUID": SOP_CLASSES[modality],
        "Modality": modality,
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL" if modality == "CT" else "OTHER"],
        "SpecificCharacterSet": "ISO_IR 100",
        "PatientName": "Phantom^Test",
        "PatientID": "phantom-1",
        "PatientBirthDate": "19700102",
        "PatientSex": "O",
        "StudyDate": "20240105",
        "StudyTime": "101500",
        "StudyID": "1",
        "AccessionNumber": "A1",
        "ReferringPhysicianName": "",
        "BodyPartExamined": "ABDOMEN",
        "StudyDescription": "Test",
        "SeriesDescription": "Test series",
        "SeriesNumber": 3,
        "Manufacturer": "volseg",
        "PatientPosition": "HFS",
        "PositionReferenceIndicator": "",
        "AcquisitionNumber": 1,
    }
    return common | (_CT if modality == "CT" else _MR)


_MR = {
    "ScanningSequence": "GR",
    "SequenceVariant": "NONE",
    "ScanOptions": "",
    "MRAcquisitionType": "2D",
    "RepetitionTime": "500",
    "EchoTime": "10",
    "EchoTrainLength": "1",
}
_CT = {"RescaleIntercept": "-1024", "RescaleSlope": "1", "RescaleType": "HU", "KVP": "120"}


def _set_pixels(dataset: FileDataset, plane: Array, tags: dict[str, Any]) -> None:
    """Store a plane of 16-bit pixels; what `tags` say of them stays."""
    dataset.Rows, dataset.Columns = plane.shape
    if tags.get("Rows"):
        dataset.Rows = tags["Rows"]
    dataset.SamplesPerPixel = 1
    dataset.BitsAllocated = 16
    defaults = {"BitsStored": 16, "PixelRepresentation": int(plane.dtype.kind == "i")}
    for key in PIXEL_KEYS:
        value = tags.get(key, defaults.get(key))
        if value is not None:
            setattr(dataset, key, value)
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PhotometricInterpretation = tags.get("PhotometricInterpretation", "MONOCHROME2")
    dataset.PixelData = plane.astype("<i2" if plane.dtype.kind == "i" else "<u2").tobytes()
