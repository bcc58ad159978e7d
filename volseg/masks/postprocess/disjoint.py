"""Masks of exclusive classes: where several claim a voxel, one has it."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from volseg.postprocessing.connected_components import Mask
from volseg.postprocessing.step_input import Bytes


def disjoint(claims: Iterable[tuple[Bytes, Mask]], shape: Sequence[int]) -> Iterator[Mask]:
    """Masks of exclusive classes, from each one's 8-bit probability and cleaned mask, (X, Y, Z).

    Where several masks claim a voxel, the class with the highest probability has it, of equals the
    first. So an organ that lies in a hole of another is not lost when the hole is filled. Memory
    does not grow with the number of classes.
    """
    owner = np.zeros(shape, np.uint16)
    strongest = np.zeros(shape, np.uint8)
    count = 0
    for count, (probability, mask) in enumerate(claims, start=1):
        won = mask & ((owner == 0) | (probability > strongest))
        owner[won] = count
        strongest[won] = probability[won]
    for number in range(1, count + 1):
        yield owner == number
