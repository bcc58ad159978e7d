"""Whether all images of a series are of one patient and study and one kind, each with its own UID."""

from collections.abc import Iterator, Sequence

from volseg.data.layouts.dicom.gate import Problem
from volseg.data.layouts.dicom.headers import Slice
from volseg.formatting import format_count


def find_patient_problems(slices: Sequence[Slice]) -> list[Problem]:
    """What speaks against the images of a series being of one patient and study."""
    return [*_patient_problems(slices)]


def find_mixture_problems(slices: Sequence[Slice]) -> list[Problem]:
    """What speaks against the images of a series being one set: shared UIDs, 0 white in some only."""
    return [*_uid_problems(slices), *_white_problems(slices)]


def _patient_problems(slices: Sequence[Slice]) -> Iterator[Problem]:
    files = [one.file for one in slices]
    unreadable = sum(file.patient is None for file in files)
    if unreadable:
        text = f"{format_count(unreadable, 'image')} whose patient's name or number can't be read"
        yield Problem("unreadable", f"{text}; export the series anew")
        return
    numbers = {file.patient_id for file in files}
    patients = numbers if any(numbers) else {file.patient for file in files}
    if len(patients) > 1:
        text = f"its images say that they are of {len(patients)} patients; expected one"
        yield Problem("mixed patients", text)
    studies = {file.study_uid for file in files}
    if len(studies) > 1:
        yield Problem("mixed studies", f"its images are of {len(studies)} studies; expected one")


def _uid_problems(slices: Sequence[Slice]) -> Iterator[Problem]:
    """A UID of an image that several images at other places have too."""
    places: dict[tuple[str, int | None], object] = {}
    count = 0
    for one in slices:
        if one.file.sop_instance_uid and one.plane:
            uid = one.file.sop_instance_uid, one.plane.frame
            count += places.setdefault(uid, one.place) != one.place
    if count:
        text = f"{format_count(count, 'image')} with the UID of another image at another place"
        yield Problem("repeated UID", f"{text}; expected one UID each")


def _white_problems(slices: Sequence[Slice]) -> Iterator[Problem]:
    """Images where 0 is white beside others where it is black."""
    white = sum(one.file.photometric == "MONOCHROME1" for one in slices)
    if 0 < white < len(slices):
        text = f"0 is white in {white} of {format_count(len(slices), 'image')}, black in the others"
        yield Problem("pixel format", f"{text}; expected MONOCHROME1 or MONOCHROME2 in all")
