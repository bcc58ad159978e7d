"""What an object takes from its series: patient, study and frame of reference, byte for byte."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from volseg import __version__
from volseg.data.layouts.dicom.header_values import read_uid, require_pydicom
from volseg.data.layouts.dicom.headers import read_header
from volseg.data.layouts.dicom.quiet_reading import silenced_pydicom
from volseg.data.layouts.dicom.series import DicomSeries
from volseg.errors import UserError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

UNREVIEWED = f"volseg {__version__} UNREVIEWED"
"""The description of all objects: nobody looked at them."""
LABEL = "UNREVIEWED"  # at most 16 characters
MAKER = "volseg"
LONGEST_STUDY_ID = 16
LONGEST = 4096  # bytes of a text that is taken from a header: a name in three scripts has some hundred
REQUIRED = (
    "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "PatientName", "PatientID",
    "PatientBirthDate", "PatientSex", "StudyID", "PositionReferenceIndicator",
)  # fmt: skip
"""What the standard wants to be there, be it empty."""
OPTIONAL = (
    "TimezoneOffsetFromUTC", "StudyDescription", "IssuerOfPatientID", "PatientAge", "PatientSize",
    "PatientWeight", "PatientIdentityRemoved", "DeidentificationMethod",
)  # fmt: skip
_COPIED = ("SpecificCharacterSet", *REQUIRED, *OPTIONAL)
TEXTS = {
    "AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT",
}  # fmt: skip
"""The VRs of texts. Others, such as a sequence where a name should be, are damage or an attack."""
UNDEFINED = 0xFFFFFFFF  # the length of what ends by a mark, as sequences do
_CONTROLS = {*range(32)} - {*b"\t\n\f\r\x1b"}
"""Bytes that no text of any character set has: some lines in long texts, and escapes to other letters."""


@dataclass(frozen=True)
class MadeBy:
    """The run that made masks, and the hash of its weights; "" where nobody knows.

    `unlike` says that the image is unlike those that the run was trained on.
    """

    run: str = ""
    weights: str = ""
    unlike: bool = False

    @property
    def description(self) -> str:
        """The description of an object, in 64 characters at most."""
        return f"{UNREVIEWED}, IMAGE UNLIKE TRAINING" if self.unlike else UNREVIEWED

    @property
    def text(self) -> str:
        """The version, the run and the first digits of the hash, in 64 plain characters."""
        run = "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in self.run)
        begin, end = f"volseg {__version__} ", f" {self.short_hash}" if self.weights else ""
        return begin + run.replace("\\", "/")[: 64 - len(begin) - len(end)] + end

    @property
    def short_hash(self) -> str:
        """The first digits of the hash of the weights."""
        return self.weights[:12]


@silenced_pydicom()
def read_source_header(series: DicomSeries) -> "Dataset":
    """What the header of the first image of a series says of the patient and the study.

    Raises:
        UserError: pydicom is missing, the header lacks a UID that objects are tied to it by, images share
            one, or the files are not there any more, of another series, or with values that are no texts.
    """
    require_pydicom()
    where = f"series {series.name}"
    _check_uids(series, where)
    header = read_header(series.planes[0].path, tags=("StudyInstanceUID", *_COPIED))
    if header is None or read_uid(header, "StudyInstanceUID") != series.study_uid:
        raise UserError(f"{where}: its files changed since they were read; run the command again")
    _check_texts(header, where)
    return header


def _check_uids(series: DicomSeries, where: str) -> None:
    uids = {
        "study": series.study_uid,
        "series": series.series_uid,
        "frame of reference": series.frame_of_reference_uid,
        "image": all(plane.sop_instance_uid for plane in series.planes),
    }
    absent = [name for name, uid in uids.items() if not uid]
    if absent:
        raise UserError(
            f"{where}: its header lacks the UID of {', '.join(absent)}; nothing can be tied to it"
        )
    if len({(plane.sop_instance_uid, plane.frame) for plane in series.planes}) < len(series.planes):
        raise UserError(
            f"{where}: several of its images have one SOP Instance UID, so references would be ambiguous; "
            "export the series anew"
        )


def _check_texts(header: "Dataset", where: str) -> None:
    """Raise a UserError where values are no texts: they would get into the objects byte by byte."""
    elements = {key: header.get_item(key) for key in _COPIED if key in header}
    if any(len(getattr(element, "value", "") or "") > LONGEST for element in elements.values()):
        raise UserError(f"{where}: texts in its header are longer than {LONGEST} bytes; they can't be names")
    wrong = [key for key, element in elements.items() if not _is_text(element)]
    if wrong:
        raise UserError(
            f"{where}: its header has no plain text in {', '.join(wrong)}; nothing can be taken from it, so "
            "export the series anew"
        )


def _is_text(element: Any) -> bool:
    """Whether an element is of a kind of texts, or of the one that implicit VR leaves out, and plain."""
    from pydicom.dataelem import RawDataElement

    if not isinstance(element, RawDataElement):  # pydicom has read it: the character set
        return element.VR in TEXTS
    if element.VR not in (None, *TEXTS) or element.length == UNDEFINED:
        return False
    return not _CONTROLS & {*(element.value or b"").rstrip(b"\0")}


@silenced_pydicom()
def copy_identity(source: "Dataset", series: DicomSeries, target: "Dataset") -> None:
    """Give a new object the patient, the study and the frame of reference of a series.

    The bytes of texts are taken as they are, with the character set that they are in: decoding them and
    encoding them again may change or lose names. Call it when all else is set.
    """
    target.StudyInstanceUID = series.study_uid
    target.FrameOfReferenceUID = series.frame_of_reference_uid
    if "SpecificCharacterSet" in target:
        del target.SpecificCharacterSet
    _copy_bytes(source, _COPIED, target)
    for key in REQUIRED:
        if key not in target or (key == "StudyID" and _is_too_long(target)):
            setattr(target, key, "")


def _is_too_long(target: "Dataset") -> bool:
    """Whether a study's ID has more than the 16 characters of its kind, for which archives refuse an object.

    It is no part of what a study is found by, so it may be empty; cut off it would be another ID.
    """
    value = target.get_item("StudyID").value or b""
    return isinstance(value, bytes) and value.isascii() and len(value.rstrip()) > LONGEST_STUDY_ID


def _copy_bytes(source: "Dataset", keys: Iterable[str], target: "Dataset") -> None:
    from pydicom.datadict import dictionary_VR, tag_for_keyword
    from pydicom.dataelem import DataElement, RawDataElement

    for key in keys:
        tag = tag_for_keyword(key) or 0
        if tag not in source:
            continue
        element = source.get_item(tag)
        if isinstance(element, RawDataElement):
            target[tag] = element._replace(VR=dictionary_VR(tag), value=element.value or b"")
        else:
            target[tag] = DataElement(tag, element.VR, element.value)


def set_now(target: "Dataset", keys: Iterable[str]) -> None:
    """Set the date and time of `keys` (such as Series) to now."""
    now = datetime.now()  # local, as all times of DICOM
    for key in keys:
        setattr(target, f"{key}Date", now.strftime("%Y%m%d"))
        setattr(target, f"{key}Time", now.strftime("%H%M%S"))
