"""Run-length text of a mask, as the UW-Madison GI tract competition writes it.

A text is `start length start length ...`; starts are 1-based and count the pixels of the image
row by row (C order over (HEIGHT, WIDTH)), not column by column as the competition's page says.
"""

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from volseg.errors import UserError

Mask = npt.NDArray[np.bool_]


def encode(mask: Mask) -> str:
    """The text of a bool (X, Y) mask, its runs as long as they can be; '' for an empty mask.

    A run goes on from the end of a row to the start of the next where both are set. Fastest where neighbours
    along X lie together in memory, as in the masks of `decode` and `slice_planes`.
    """
    pixels = np.asarray(mask, dtype=bool).tobytes(order="F")  # bytes find pixels in no time
    first, end = pixels.find(1), pixels.rfind(1) + 1
    if not end:
        return ""
    drawn = np.frombuffer(pixels, dtype=bool, count=end - first, offset=first)
    numbers = np.concatenate(([first], np.flatnonzero(drawn[1:] != drawn[:-1]) + first + 1, [end]))
    numbers[1::2] -= numbers[::2]  # from the edges of runs to lengths ...
    numbers[::2] += 1  # ... and starts counted from 1
    return ("%d " * len(numbers) % tuple(numbers.tolist()))[:-1]  # half the time of str and join


def slice_planes(volume: Mask) -> Mask:
    """The slices of a mask (X, Y, Z), bool (Z, X, Y), laid out for `encode`.

    Where neighbours along Z lie together, as in most volumes, reading a slice costs many times as much as
    encoding it. So the volume is read once, row by row, as a row of all slices fits the processor's cache.
    """
    columns, rows, slices = volume.shape
    stack = np.empty((slices, rows, columns), dtype=bool)
    for row in range(rows):
        stack[:, row] = volume[:, row].T
    return stack.transpose(0, 2, 1)


def decode(text: str, shape: tuple[int, int]) -> Mask:
    """The bool (X, Y) mask of a text, for an image of X columns and Y rows; runs may touch.

    Raises:
        UserError: an odd count, a word that is no number, a start or a length below 1, a run past the end,
            over another or out of order; the text names the run.
    """
    words = text.split()
    if not words:
        return np.zeros((shape[1], shape[0]), dtype=bool).T
    edges = _run_edges(words, shape)
    in_a_run = np.zeros(len(edges) - 1, dtype=bool)  # between two edges: out, in, out, ..., out
    in_a_run[1::2] = True
    return np.repeat(in_a_run, np.diff(edges)).reshape(shape[1], shape[0]).T


def _run_edges(words: Sequence[str], shape: tuple[int, int]) -> npt.NDArray[np.int64]:
    """First pixel and pixel after the last of each run counted from 0, between 0 and the image's size."""
    digits = "".join(words)
    if len(words) % 2 or not (digits.isascii() and digits.isdigit()):
        raise UserError(_first_fault(words, shape))
    # three times as fast as int(); too large a number becomes the largest int64
    numbers = np.fromstring(" ".join(words), dtype=np.int64, count=len(words), sep=" ")
    starts, lengths = numbers[::2] - 1, numbers[1::2]
    edges = np.empty(len(words) + 2, dtype=np.int64)
    edges[0], edges[-1] = 0, shape[0] * shape[1]
    edges[1:-1:2], edges[2:-1:2] = starts, starts + lengths  # a sum that overflows is negative
    if (edges[1:] < edges[:-1]).any() or not lengths.all():
        raise UserError(_first_fault(words, shape))
    return edges


def _first_fault(words: Sequence[str], shape: tuple[int, int]) -> str:
    """The fault of the first bad run; slow, for bad texts only."""
    end = 0
    for position in range(0, len(words), 2):
        run = words[position : position + 2]
        place = f"run {position // 2 + 1} ({' '.join(word[:20] for word in run)!r})"
        problem = _run_fault(run, end, shape)
        if problem:
            return f"run-length text: {place}: {problem}"
        end = int(run[0]) - 1 + int(run[1])
    raise AssertionError("called for a good text")


def _run_fault(run: Sequence[str], end: int, shape: tuple[int, int]) -> str:
    """The fault of a run after one that ended before pixel `end`, or ''."""
    size = shape[0] * shape[1]
    if len(run) < 2:
        return "has no length; expected pairs of start and length"
    if not all(re.fullmatch("-?[0-9]{1,999}", word) for word in run):
        return "is not two whole numbers"
    start, length = int(run[0]), int(run[1])
    earlier = f"starts before or within an earlier run, which ends at {end}; runs must be in order"
    past = f"ends past the last of {size} pixels ({shape[0]} columns x {shape[1]} rows)"
    checks = (
        (start < 1, "starts below 1; starts are counted from 1"),
        (length < 1, "has a length below 1"),
        (start <= end, earlier),
        (start - 1 + length > size, past),
    )
    return next((problem for wrong, problem in checks if wrong), "")
