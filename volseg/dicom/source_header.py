"""What an object takes from its series: patient, study and frame of reference, byte for byte."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from volseg import __version__
from volseg.data.layouts.dicom.header_values import read_uid, require_pydicom
from volseg.data.layouts.dicom.headers import read_header
from volseg.data.layouts.dicom.quiet_reading import silenced_pydicom
from volseg.data.layouts.dicom.series import DicomSeries
from volseg.errors import UserError
from volseg.system.files import atomic_path

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


@dataclass(frozen=True)
class MadeBy:
    """The run that made masks, and the hash of its weights; "" where nobody knows."""

    run: str = ""
    weights: str = ""

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


def read_source_header(series: DicomSeries) -> "Dataset":
    """What the header of the first image of a series says of the patient and the study.

    Raises:
        UserError: pydicom is missing, the header lacks a UID that objects are tied to it by, or the files
            are not there any more, of another series, or with texts that no header has.
    """
    require_pydicom()
    where = f"series {series.name}"
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
    tags = ("SpecificCharacterSet", "StudyInstanceUID", *REQUIRED, *OPTIONAL)
    with silenced_pydicom():
        header = read_header(series.planes[0].path, tags=tags)
        if header is None or read_uid(header, "StudyInstanceUID") != series.study_uid:
            raise UserError(f"{where}: its files changed since they were read; run the command again")
    if any(len(getattr(header.get_item(tag), "value", "") or "") > LONGEST for tag in header.keys()):  # noqa: SIM118
        raise UserError(f"{where}: texts in its header are longer than {LONGEST} bytes; they can't be names")
    return header


def copy_identity(source: "Dataset", series: DicomSeries, target: "Dataset") -> None:
    """Give a new object the patient, the study and the frame of reference of a series.

    The bytes of texts are taken as they are, with the character set that they are in: decoding them and
    encoding them again may change or lose names. Call it when all else is set.
    """
    target.StudyInstanceUID = series.study_uid
    target.FrameOfReferenceUID = series.frame_of_reference_uid
    if "SpecificCharacterSet" in target:
        del target.SpecificCharacterSet
    with silenced_pydicom():
        _copy_bytes(source, ("SpecificCharacterSet", *REQUIRED, *OPTIONAL), target)
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


def write_object(dataset: "Dataset", path: Path, *, implicit: bool) -> None:
    """Write an object for its owner's eyes alone, atomically, into a folder that is made so if it is missing.

    Raises:
        OutputError: the disk is full or the folder can't be written.
    """
    from pydicom import dcmwrite
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    charset = dataset._character_set  # noqa: SLF001 - as if read so, for then bytes stay as they are
    dataset.set_original_encoding(implicit, True, charset)
    make_private_folder(path.parent)
    with atomic_path(path) as temporary, silenced_pydicom():
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            dcmwrite(file, dataset, enforce_file_format=True)


def make_private_folder(folder: Path) -> None:
    """Make a folder, and those above it, that only its owner may enter; one that is there stays as it is."""
    for path in reversed([one for one in (folder, *folder.parents) if not one.exists()]):
        path.mkdir(mode=0o700, exist_ok=True)
