"""The slices to look at first, worst first, by their places on the display grid."""

from collections.abc import Iterator, Sequence
from typing import Any

from volseg.inference.prediction_folder import Prediction

SliceRange = tuple[int, int]


def work_ranges(prediction: Prediction) -> list[tuple[SliceRange, str]]:
    """Ranges of slices by the record's numbers, each once, with the class to look at; "" for all.

    The worst of every class come first, the least trusted class before others; then the second worst. What
    no class has by itself is last. Classes that were changed in place are no longer what the record tells.
    """
    told = {
        name: one for name, one in prediction.confidence.items() if name not in prediction.edited_in_place
    }
    by_trust = sorted(told, key=lambda name: 1.0 if (dice := told[name].dice) is None else dice)
    longest = max((len(one.slices) for one in told.values()), default=0)
    ranges: dict[SliceRange, str] = {}
    for place in range(longest):
        for name in by_trust:
            for ends in told[name].slices[place : place + 1]:
                ranges.setdefault(ends, name)
    if not prediction.edited_in_place:
        for ends in prediction.check:
            if not any(_overlap(ends, other) for other in ranges):
                ranges.setdefault(ends, "")
    return list(ranges.items())


def work_items(prediction: Prediction, slice_numbers: Sequence[int]) -> Iterator[dict[str, Any]]:
    """The ranges as the page takes them; those of slices that are not there are left out."""
    places = {number: place for place, number in enumerate(slice_numbers)}
    for ends, name in work_ranges(prediction):
        if places.keys() >= {*ends}:
            first, last = sorted(places[end] for end in ends)
            yield {"class": name, "first": first, "last": last, "numbers": list(ends)}


def _overlap(one: SliceRange, other: SliceRange) -> bool:
    return min(one) <= max(other) and min(other) <= max(one)
