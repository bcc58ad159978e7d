"""Series of enhanced MR: many frames in a file, in any order, and several files of one series."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from tests.dicom_series import FIRST_POSITION, example_pixels, write_series

ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
BY_FRAME = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "EchoTime")
SHAPE = (8, 24, 32)
SPACING_MM = (1.25, 1.5, 3.0)


def write_enhanced(
    folder: Path, files: Sequence[Sequence[int]], *, echoes_ms: Sequence[float] = (10,)
) -> None:
    """Write axial files whose frames are slices of these numbers, once for each echo."""
    uids = {key: generate_uid() for key in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")}
    pixels = example_pixels(SHAPE)
    for number, slices in enumerate(files):
        (path,) = write_series(folder / f"{number}", pixels=pixels[:1], SOPClassUID=ENHANCED_MR, **uids)
        dataset = dcmread(path)
        for key in BY_FRAME:
            delattr(dataset, key)
        frames = [(echo, one) for echo in echoes_ms for one in slices]
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
        dataset.SharedFunctionalGroupsSequence = [_shared_group()]
        dataset.PerFrameFunctionalGroupsSequence = [_frame_group(echo, one) for echo, one in frames]
        dataset.NumberOfFrames = len(frames)
        dataset.PixelData = b"".join(
            (pixels[one] + int(echo)).astype("<i2").tobytes() for echo, one in frames
        )
        dataset.save_as(path)


def _shared_group() -> Dataset:
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [*SPACING_MM[:2]], SPACING_MM[2]
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    return shared


def _frame_group(echo_ms: float, number: int) -> Dataset:
    group, place, echo = Dataset(), Dataset(), Dataset()
    place.ImagePositionPatient = [*np.add(FIRST_POSITION, (0, 0, number * SPACING_MM[2]))]
    echo.EffectiveEchoTime = echo_ms
    group.PlanePositionSequence, group.MREchoSequence = [place], [echo]
    return group


def frame_places(folder: Path) -> dict[tuple[str, int], tuple[float, list[float]]]:
    """The echo time and the position of each frame, by the instance that it is in and its number there."""
    return {
        (dataset.SOPInstanceUID, number): (
            group.MREchoSequence[0].EffectiveEchoTime,
            [*map(float, group.PlanePositionSequence[0].ImagePositionPatient)],
        )
        for dataset in map(dcmread, folder.rglob("*.dcm"))
        for number, group in enumerate(dataset.PerFrameFunctionalGroupsSequence, 1)
    }
