"""The gate: what a stack of slices must be to be a volume, and why it is refused."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

from volseg.data.layouts.dicom.headers import IMAGE_CLASSES, MOST_PIXELS, Slice
from volseg.data.volume import Array
from volseg.formatting import format_count

Kind = Literal[
    "colour image",
    "localiser",
    "projection",
    "secondary capture",
    "other images",
    "pixel format",
    "rescale",
    "too large",
    "mixed patients",
    "mixed studies",
    "repeated UID",
    "mixed times",
    "no position",
    "mixed orientation",
    "one position",
    "doubled slice",
    "too few slices",
    "missing slice",
    "uneven distance",
    "gantry tilt",
    "shifted slice",
    "no frame of reference",
    "unreadable",
]
FEWEST_SLICES = 3  # of two nobody can see whether one is missing between them
MOST_VOXELS = 1 << 30
SAME_PLACE_MM = 0.01
UNEVEN = 0.01  # of the distance of slices
TILT = 0.01  # of the way from the first slice to the last, across the normal
SHIFT = 0.05  # of a pixel, off the line from the first slice to the last
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
PROJECTIONS = {"MIP", "MINIP", "PROJECTION IMAGE", "PROJECTION", "MAX_IP", "MIN_IP"}
SCREENS = {"SCREEN SAVE", "SCREENSHOT"}


class Problem(NamedTuple):
    """Why slices are no volume: a fixed word for programs, and a text for people."""

    kind: Kind
    text: str


def image_problem(one: Slice) -> Problem | None:
    """Why an image can't be a slice of a volume, whatever lies beside it."""
    file = one.file
    words = {*file.image_type, *one.kind}
    if file.samples != 1 or (file.photometric and not file.photometric.startswith("MONOCHROME")):
        return Problem("colour image", "is in colour (RGB or a palette); expected grey values")
    if file.sop_class_uid.startswith(SECONDARY_CAPTURE) or words & SCREENS:
        return Problem("secondary capture", "is a picture of a screen; expected the images of the scanner")
    if file.sop_class_uid not in IMAGE_CLASSES:
        return Problem("other images", "is neither MR nor CT")
    if any(word.startswith("LOCALI") or word == "SCOUT" for word in words):
        return Problem("localiser", "is a localiser; expected a volume")
    if words & PROJECTIONS:
        return Problem("projection", "is a projection (MIP); expected the slices that it was made of")
    return _format_problem(one)


def _format_problem(one: Slice) -> Problem | None:
    file = one.file
    if min(file.rows, file.columns) < 1 or file.rows * file.columns > MOST_PIXELS:
        return Problem("too large", f"has an impossible size, or more than {MOST_PIXELS} pixels")
    if file.bits not in (8, 16, 32):
        return Problem("pixel format", "has pixels of a kind that is not read; expected 8, 16 or 32 bits")
    if not 0 < file.bits_stored <= file.high_bit + 1 <= file.bits:
        return Problem("pixel format", "has a BitsStored and HighBit that do not fit its pixels")
    return None


def find_scale_problems(slices: Sequence[Slice]) -> list[Problem]:
    """What speaks against the values of a volume's slices being of one scale."""
    problems = []
    faults = Counter(one.rescale.fault for one in slices if one.rescale.fault)
    for fault, count in sorted(faults.items()):
        problems.append(Problem("rescale", f"{count} of {format_count(len(slices), 'slice')} {fault}"))
    if not faults and len({one.rescale.stated for one in slices}) > 1:
        count = sum(not all(one.rescale.stated) for one in slices)
        text = f"{count} of {format_count(len(slices), 'slice')} have no rescale slope or intercept"
        problems.append(Problem("rescale", f"{text}, the others have; expected it in all or none"))
    return problems


def repeated_positions(slices: Sequence[Slice]) -> list[int]:
    """How many slices lie at each place, along the normal."""
    places = np.sort([one.distance_mm for one in slices])
    starts = np.flatnonzero(np.diff(places, prepend=-np.inf) > SAME_PLACE_MM)
    return [int(count) for count in np.diff([*starts, len(places)])]


def find_problems(slices: Sequence[Slice]) -> list[Problem]:
    """What speaks against slices of one orientation and size, in order along the normal, being a volume."""
    count = sum(one.plane is None for one in slices)
    if count:
        return [
            Problem(
                "no position",
                f"{count} of {format_count(len(slices), 'slice')} do not tell their place; "
                "expected ImagePositionPatient, ImageOrientationPatient and PixelSpacing",
            )
        ]
    counts = repeated_positions(slices)
    if len(slices) > 1 and len(counts) == 1:
        return [
            Problem(
                "one position", f"all {len(slices)} images show one and the same slice; expected a volume"
            )
        ]
    if max(counts) > 1:
        doubled = sum(count > 1 for count in counts)
        text = f"{doubled} of {len(counts)} positions have several different images; expected one each"
        return [Problem("doubled slice", text)]
    if len(slices) < FEWEST_SLICES:
        text = (
            f"{format_count(len(slices), 'slice')}; at least {FEWEST_SLICES} show that their distance is even"
        )
        return [Problem("too few slices", text)]
    if slices[0].file.rows * slices[0].file.columns * len(slices) > MOST_VOXELS:
        return [Problem("too large", f"more than {MOST_VOXELS} voxels")]
    return [*_distance_problems(slices), *_line_problems(slices)]


def _distance_problems(slices: Sequence[Slice]) -> Iterator[Problem]:
    """A missing slice or an uneven distance."""
    steps = np.diff([one.distance_mm for one in slices])
    usual = float(np.median(steps))
    if (np.abs(steps - usual) <= max(SAME_PLACE_MM, UNEVEN * usual)).all():
        return
    smallest = float(steps.min())
    times = np.rint(steps / smallest)
    whole = np.abs(steps - times * smallest) <= np.maximum(SAME_PLACE_MM, UNEVEN * smallest) * times
    missing = int((times - 1).sum())
    if whole.all() and missing <= len(slices):
        gaps = format_count(int((times > 1).sum()), "gap")
        text = f"{format_count(missing, 'slice')} of {len(slices) + missing} missing, in {gaps}"
        yield Problem("missing slice", f"{text}; expected one every {smallest:.4g} mm")
        return
    text = f"slices lie {smallest:.4g} to {float(steps.max()):.4g} mm apart; expected one distance, to 1 %"
    yield Problem("uneven distance", text)


def _line_problems(slices: Sequence[Slice]) -> Iterator[Problem]:
    """A gantry tilt, or slices beside the line of the others."""
    planes = [one.plane for one in slices if one.plane]
    positions = np.array([plane.position for plane in planes])
    normal = planes[0].normal / np.linalg.norm(planes[0].normal)
    way = positions[-1] - positions[0]
    across = float(np.linalg.norm(_across(way, normal)) / np.linalg.norm(way))
    if across > TILT:
        angle = np.degrees(np.arcsin(min(1.0, across)))
        text = (
            f"slices are sheared by {angle:.1f} degrees (a tilted gantry); expected a stack along its normal"
        )
        yield Problem("gantry tilt", text)
    shares = np.array([(position - positions[0]) @ way for position in positions]) / (way @ way)
    off = np.linalg.norm(_across(positions - positions[0] - np.multiply.outer(shares, way), normal), axis=1)
    limit = max(SAME_PLACE_MM, SHIFT * min(planes[0].row_spacing_mm, planes[0].column_spacing_mm))
    count = int((off > limit).sum())
    if count:
        text = f"{format_count(count, 'slice')} up to {off.max():.2g} mm beside the line of the others"
        yield Problem("shifted slice", text)


def _across(vectors: Array, normal: Array) -> Array:
    """The part of vectors (..., 3) in the plane."""
    across: Array = vectors - np.multiply.outer(vectors @ normal, normal)
    return across


def main_problem(problems: Sequence[Problem]) -> Problem:
    """The commonest of the problems of single images, the first of those that are as common."""
    return Counter(problems).most_common(1)[0][0]
