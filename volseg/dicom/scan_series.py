"""Which series a predicted scan is of: told by its name, its patient and, value by value, its image."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from volseg.data.image_identity import image_hash
from volseg.data.layouts.dicom.find import case_name
from volseg.data.layouts.dicom.header_values import read_text
from volseg.data.layouts.dicom.headers import read_header
from volseg.data.layouts.dicom.pixels import read_volume
from volseg.data.layouts.dicom.quiet_reading import silenced_pydicom
from volseg.data.layouts.dicom.series import DicomSeries
from volseg.data.mask_files import read_grid
from volseg.errors import UserError
from volseg.inference.prediction_folder import Prediction

CASE = "case_"  # begins the name of a case that is a patient's salted hash
ANEW = "predict the DICOM folder itself: `volseg infer --input FOLDER --dicom-out DIR`"


class SeriesFinder:
    """Finds the series of scans among volumes, whose images are read once each, and only if needed."""

    def __init__(self, volumes: Sequence[DicomSeries]) -> None:
        self.volumes = volumes
        self._hashes: dict[str, str] = {}

    def series_of(self, prediction: Prediction) -> DicomSeries:
        """The series of a scan's name, else of its grid; its image must be the one that was predicted.

        A record of an earlier version does not know its image; then the name alone tells.

        Raises:
            UserError: there is none, or several are; or that of its name has another image or patient by
                now, or can't be referred to.
        """
        named = next((series for series in self.volumes if series.name == prediction.scan), None)
        if prediction.status == "failed":
            return named or self.volumes[0]
        found = named or self._series_by_image(prediction)
        check_patient(prediction, found)
        if prediction.image_hash and self._image_hash(found) != prediction.image_hash:
            raise UserError(
                f"the series of its name has another image than the one it was predicted from; {ANEW}"
            )
        check_references(found, self.volumes)
        return found

    def _series_by_image(self, prediction: Prediction) -> DicomSeries:
        """The series of the grid and the image of a scan that was predicted from a file."""
        files = (prediction.mask_file(name).path for name in prediction.classes)
        path = next(filter(Path.is_file, files), None)
        if path is None:
            raise UserError("has no masks; run `volseg infer` again")
        grid = read_grid(path)
        same_grid = [series for series in self.volumes if series.planes_of_volume(grid) is not None]
        if not same_grid:
            raise UserError(
                "is on the grid of none of the series; name the folder of the one it was predicted from"
            )
        same_image = [series for series in same_grid if self._image_hash(series) == prediction.image_hash]
        if len(same_image) != 1:
            there = "several series have" if same_image else "no series on its grid has"
            raise UserError(f"{there} the image that it was predicted from; {ANEW}")
        return same_image[0]

    def _image_hash(self, series: DicomSeries) -> str:
        if series.name not in self._hashes:
            self._hashes[series.name] = image_hash([read_volume(series)])
        return self._hashes[series.name]


def check_patient(prediction: Prediction, series: DicomSeries) -> None:
    """Raise a UserError where a series has another patient's id than it had when it was predicted."""
    if prediction.scan != series.name or not prediction.case.startswith(CASE):
        return
    with silenced_pydicom():
        header = read_header(series.planes[0].path, tags=("PatientID",))
        patient = "" if header is None else read_text(header, "PatientID")
    if case_name(patient, series) != prediction.case:
        raise UserError(f"the series of its name has another patient's id than when it was predicted; {ANEW}")


def check_references(series: DicomSeries, volumes: Iterable[DicomSeries]) -> None:
    """Raise a UserError where images of another volume have the UIDs of those of a series, in one series."""
    own = {(plane.sop_instance_uid, plane.frame) for plane in series.planes}
    for other in volumes:
        is_beside = other.name != series.name and other.series_uid == series.series_uid
        if is_beside and any((plane.sop_instance_uid, plane.frame) in own for plane in other.planes):
            raise UserError(
                "images of another volume of its series have the same SOP Instance UIDs, so references "
                "would be ambiguous; export the series anew"
            )
