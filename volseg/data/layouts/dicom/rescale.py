"""Slope and intercept from stored values to those of a volume, and what speaks against taking them."""

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from volseg.data.layouts.dicom.header_values import read_text, read_texts

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")  # as DICOM writes one; Python reads more
LARGEST, SMALLEST_SLOPE = 1e9, 1e-12  # beyond any sense
NUMBER_TYPES = {"DS", "FD", "FL"}
CT_UNITS = {"", "HU", "US", "UNSPECIFIED"}  # US: unspecified


class Rescale(NamedTuple):
    """A slope and an intercept, 1 and 0 where the header has none; `stated` tells which it has.

    `fault` says why they can't be taken; '' where they can.
    """

    slope: float = 1.0
    intercept: float = 0.0
    stated: tuple[bool, bool] = (False, False)
    fault: str = ""


def read_rescale(place_of: "Callable[[str], Dataset]", modality: str) -> Rescale:
    """The slope and intercept of a plane; `place_of` gives the dataset that holds a tag."""
    texts = [_texts_of(place_of(key), key) for key in ("RescaleSlope", "RescaleIntercept")]
    numbers = [None if one is None else _number_of(one) for one in texts]
    slope, intercept = numbers
    stated = slope is not None, intercept is not None
    fault = ""
    if any(number is not None and not abs(number) <= LARGEST for number in numbers):
        fault = "have a rescale slope or intercept that is no number of any sense; export the series anew"
    elif slope is not None and abs(slope) < SMALLEST_SLOPE:
        fault = "have a rescale slope of 0, which leaves no image; export the series anew"
    elif modality == "CT" and not all(stated):
        fault = "have no rescale slope and intercept, so their values are no Hounsfield units"
    elif modality == "CT" and read_text(place_of("RescaleType"), "RescaleType").upper() not in CT_UNITS:
        fault = "have values of another kind than Hounsfield units (by RescaleType)"
    if fault:
        return Rescale(stated=stated, fault=fault)
    return Rescale(1.0 if slope is None else slope, intercept or 0.0, stated)


def _texts_of(dataset: "Dataset", key: str) -> tuple[str, ...] | None:
    """The texts of a number's tag: None where it is missing or empty, () where it can't be read."""
    if key not in dataset:
        return None
    try:
        element = dataset[key]
    except Exception:  # a value of another form than its tag has: pydicom raises what it likes
        return ()
    if element.is_empty:
        return None
    return read_texts(dataset, key) if element.VR in NUMBER_TYPES else ()


def _number_of(texts: tuple[str, ...]) -> float:
    """The one number of texts; not a number where they are another."""
    return float(texts[0]) if len(texts) == 1 and NUMBER.fullmatch(texts[0]) else math.nan
