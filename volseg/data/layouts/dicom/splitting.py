"""Volumes in one series: told apart by size, orientation, echo, kind, and where positions repeat, time."""

from collections.abc import Callable, Sequence

import numpy as np

from volseg.data.layouts.dicom.gate import find_problems, repeated_positions
from volseg.data.layouts.dicom.headers import Slice

SAME_DIRECTION = 1e-4  # of direction cosines


def split_slices(slices: Sequence[Slice]) -> list[list[Slice]]:
    """The slices of each volume, in order along the normal; the parts in an order of their content."""
    parts = [part for group in _by(slices, _form_of) for part in split_directions(group)]
    return [part for group in parts for part in _split_moments(in_order(group))]


def split_directions(slices: Sequence[Slice]) -> list[list[Slice]]:
    """The slices of each orientation; those without a place make one group."""
    groups: list[list[Slice]] = []
    for one in sorted(slices, key=_directions):
        group = next((group for group in groups if _same_directions(one, group[0])), None)
        if group is None:
            groups.append([one])
        else:
            group.append(one)
    return groups


def in_order(slices: Sequence[Slice]) -> list[Slice]:
    """The slices along their normal; at one place by content, never by number or file name."""
    return sorted(slices, key=lambda one: (one.distance_mm, one.file.sop_instance_uid))


def _split_moments(slices: list[Slice]) -> list[list[Slice]]:
    """Slices whose positions repeat as one volume a moment, if each is one then; else as they are."""
    if not slices or any(one.plane is None for one in slices) or max(repeated_positions(slices)) == 1:
        return [slices]
    for number in range(len(slices[0].moment)):
        parts = _by(slices, lambda one, at=number: one.moment[at])  # type: ignore[misc]
        if len(parts) > 1 and not any(find_problems(part) for part in parts):
            return parts
    return [slices]


def _form_of(one: Slice) -> tuple[object, ...]:
    """What is the same in all slices of a volume beside their direction."""
    plane, file = one.plane, one.file
    spacing = plane and (round(plane.row_spacing_mm, 4), round(plane.column_spacing_mm, 4))
    frame = file.frame_of_reference_uid
    return (file.sop_class_uid, file.rows, file.columns, spacing, frame, one.echo, one.kind, one.stack)


def _by(slices: Sequence[Slice], key: Callable[[Slice], object]) -> list[list[Slice]]:
    """Groups of slices with one key, in the order of the keys' texts."""
    groups: dict[str, list[Slice]] = {}
    for one in slices:
        groups.setdefault(repr(key(one)), []).append(one)
    return [groups[text] for text in sorted(groups)]


def _directions(one: Slice) -> tuple[float, ...]:
    return (*one.plane.row_direction, *one.plane.column_direction) if one.plane else ()


def _same_directions(one: Slice, other: Slice) -> bool:
    if one.plane is None or other.plane is None:
        return one.plane is other.plane
    return bool(np.abs(np.subtract(_directions(one), _directions(other))).max() <= SAME_DIRECTION)
