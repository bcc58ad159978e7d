"""Values of tags, bounded and checked: a file of DICOM may say anything."""

import math
from typing import TYPE_CHECKING

from volseg.errors import UserError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

LONGEST_TEXT = 256  # characters that are kept of a text
LONGEST_UID = 64
BEYOND = 1e6  # mm, or any other number that a header gives
ADVICE = "needs pydicom; install it by `pip install 'volseg[dicom]'`"


def require_pydicom() -> None:
    """Raise a UserError where pydicom is not installed."""
    try:
        import pydicom  # noqa: F401
    except ImportError as error:
        raise UserError(f"DICOM: {ADVICE}") from error


def read_text(dataset: "Dataset", key: str) -> str:
    """A tag's text, cut to LONGEST_TEXT characters; '' where it is missing or can't be read."""
    try:
        value = dataset.get(key)
    except Exception:  # a value of another form than its tag has: pydicom raises what it likes
        return ""
    return "" if value is None else str(value)[:LONGEST_TEXT].strip()


def read_uid(dataset: "Dataset", key: str) -> str:
    """A tag's UID; '' where it is missing or none."""
    text = read_text(dataset, key)
    return text if len(text) <= LONGEST_UID and set(text) <= set("0123456789.") else ""


def read_texts(dataset: "Dataset", key: str) -> tuple[str, ...]:
    """A tag's first texts, each cut to LONGEST_TEXT characters."""
    try:
        value = dataset.get(key)
    except Exception:
        return ()
    values = [value] if isinstance(value, str) or not hasattr(value, "__iter__") else [*value][:16]
    return tuple(str(one)[:LONGEST_TEXT].strip() for one in values if one is not None)


def read_numbers(dataset: "Dataset", key: str, count: int) -> tuple[float, ...] | None:
    """So many numbers of a tag; None where there are others, or values that are no finite numbers."""
    texts = read_texts(dataset, key)
    try:
        numbers = tuple(float(text) for text in texts)
    except ValueError:
        return None
    return numbers if len(numbers) == count and all(abs(one) < BEYOND for one in numbers) else None


def read_number(dataset: "Dataset", key: str) -> float | None:
    """One number; None where there is none."""
    numbers = read_numbers(dataset, key, 1)
    return numbers[0] if numbers else None


def read_whole(dataset: "Dataset", key: str, missing: int) -> int:
    """A whole number; `missing` where there is none, and -1 for what is no whole number."""
    if not read_text(dataset, key):
        return missing
    number = read_number(dataset, key)
    return -1 if number is None or not math.isfinite(number) or number != int(number) else int(number)
