"""Volumes in one series: told apart by size, orientation, echo, kind, and where positions repeat, time."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from volseg.data.layouts.dicom.gate import Problem, find_problems, repeated_positions
from volseg.data.layouts.dicom.headers import MOMENTS, Slice

SAME_DIRECTION = 1e-4  # of direction cosines
MOST_ORIENTATIONS = 100  # of one form: no scanner makes a series of more volumes
UNSURE_MOMENTS = {"TriggerTime", "AcquisitionNumber"}  # may differ between the slices of one volume


def split_slices(slices: Sequence[Slice]) -> list[list[Slice]]:
    """The slices of each volume, in order along the normal; the parts in an order of their content."""
    parts = [part for group in _by(slices, form_of) for part in split_directions(group)]
    return [part for group in parts for part in _split_moments(in_order(group))]


def split_directions(slices: Sequence[Slice]) -> list[list[Slice]]:
    """The slices of each orientation; those without a place make one group.

    Beyond MOST_ORIENTATIONS those that are left make one group more, whatever theirs are.
    """
    exact: dict[tuple[float, ...], list[Slice]] = {}
    for one in slices:
        exact.setdefault(directions_of(one), []).append(one)
    groups = [exact.pop(())] if () in exact else []
    firsts = np.empty((0, 6))
    found: list[list[Slice]] = []
    for directions in sorted(exact):
        near = np.flatnonzero(np.abs(firsts - directions).max(axis=1) <= SAME_DIRECTION)
        if not near.size and len(found) <= MOST_ORIENTATIONS:
            firsts = np.vstack([firsts, directions])
            found.append([])
        found[near[0] if near.size else -1] += exact[directions]
    return groups + found


def in_order(slices: Sequence[Slice]) -> list[Slice]:
    """The slices along their normal; at one place by content, never by number or file name."""
    return sorted(slices, key=lambda one: (one.distance_mm, one.file.sop_instance_uid))


def find_time_problems(slices: Sequence[Slice]) -> list[Problem]:
    """What speaks against slices of one form being one moment: halves that may be volumes of their own."""
    problems = []
    for number, key in enumerate(MOMENTS):
        parts = _by_moment(slices, number)
        if key in UNSURE_MOMENTS and _are_volumes(parts) and _interleave(parts):
            what = "acquisition numbers" if key == "AcquisitionNumber" else "trigger times"
            text = f"one volume, or by {what} {len(parts)} that lie between each other"
            problems.append(Problem("mixed times", f"{text}; send each as a series of its own"))
    return problems


def _split_moments(slices: list[Slice]) -> list[list[Slice]]:
    """The slices as one volume a moment, if each is one and they repeat positions or lie by turns.

    Where the slices are a volume as they are, only what can't differ within one tells moments apart.
    """
    if not slices or any(one.plane is None for one in slices):
        return [slices]
    repeat = max(repeated_positions(slices)) > 1
    whole = not repeat and not find_problems(slices)
    for number, key in enumerate(MOMENTS):
        parts = _by_moment(slices, number)
        if whole and key in UNSURE_MOMENTS:
            continue
        if _are_volumes(parts) and (repeat or _interleave(parts)):
            return parts
    return [slices]


def _by_moment(slices: Sequence[Slice], number: int) -> list[list[Slice]]:
    return _by(slices, lambda one: one.moment[number])


def _are_volumes(parts: Sequence[list[Slice]]) -> bool:
    return len(parts) > 1 and not any(find_problems(part) for part in parts)


def _interleave(parts: Sequence[list[Slice]]) -> bool:
    """Whether slices of a part lie between those of another; the parts are in order along the normal."""
    ends = sorted((part[0].distance_mm, part[-1].distance_mm) for part in parts)
    return any(end > start for (_, end), (start, _) in pairwise(ends))


def form_of(one: Slice) -> tuple[object, ...]:
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


def directions_of(one: Slice) -> tuple[float, ...]:
    """The direction cosines (6,) along a row and down a column; none of a slice without a place."""
    return (*one.plane.row_direction, *one.plane.column_direction) if one.plane else ()
