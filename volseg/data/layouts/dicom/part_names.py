"""Names of volumes: a salted hash of the series and of all that its slices were told apart by."""

from collections.abc import Sequence

from volseg.data.layouts.dicom.headers import Slice
from volseg.data.layouts.dicom.splitting import directions_of, form_of
from volseg.system.salt import salted_name

DIGITS = 6  # of direction cosines: a hundredth of what splits a series


def part_name(part: Sequence[Slice], salt: bytes) -> str:
    """A name by the series and what tells the part from others of it; the same at another time."""
    first = part[0]
    texts = [first.file.study_uid, first.file.series_uid]
    if not first.file.series_uid:
        texts += sorted(one.file.sop_instance_uid for one in part)
    return salted_name("scan", *texts, repr(part_key(part)), salt=salt)


def part_key(part: Sequence[Slice]) -> tuple[object, ...]:
    """What tells a part of a series from its other parts: all that the series is split by."""
    directions = tuple(round(one, DIGITS) + 0.0 for one in directions_of(part[0]))
    moments = zip(*(one.moment for one in part), strict=False)
    moment = tuple(values[0] if len({*values}) == 1 else None for values in moments)
    return (form_of(part[0]), directions, moment)
