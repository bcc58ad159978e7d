"""A scan as it is cached: on the network's grid, 16 bits a voxel of the image and one bit a class."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from volseg.arrays import IGNORE
from volseg.data.volume import Array
from volseg.schema import Spacing
from volseg.system.files import atomic_path

ALIGNED = 64
"""Bytes; each array of a file begins at a multiple of it."""


@dataclass(frozen=True)
class PackedScan:
    """A scan: `image` float16 (C, X, Y, Z), `bits` uint8 (B, X, Y, Z), `points` int16 (N, 3) a class.

    Bit k of the bytes is class k, and the bit behind the last class says that the voxel is ignored.
    `points` are some of each class's voxels; patches are centred on them.
    """

    image: Array
    bits: Array
    points: tuple[Array, ...]
    spacing_mm: Spacing
    exclusive: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """(X, Y, Z)."""
        shape: tuple[int, ...] = self.image.shape[1:]
        return shape

    @property
    def class_count(self) -> int:
        """How many classes are labelled."""
        return len(self.points)

    def label_plane(self, number: int, window: tuple[slice, ...]) -> Array:
        """Whether each voxel of a window is of a class, or ignored (the plane behind the last class)."""
        plane: Array = (self.bits[number // 8][window] & np.uint8(1 << number % 8)) != 0
        return plane

    def write(self, path: Path, source: Any) -> None:
        """Write to one file, atomically; `source` is JSON that says what the scan was made from."""
        arrays = [self.image, self.bits, *self.points]
        facts = {
            "source": source,
            "spacing_mm": self.spacing_mm,
            "exclusive": self.exclusive,
            "arrays": [(array.dtype.str, array.shape) for array in arrays],
        }
        head = json.dumps(facts).encode()
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            file.write(len(head).to_bytes(8, "little") + head)
            for array in arrays:
                file.write(bytes(-file.tell() % ALIGNED))
                file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)

    @classmethod
    def read_mapped(cls, path: Path, source: Any) -> "PackedScan | None":
        """The scan in a file, its voxels mapped from it; None if it was made from something else."""
        if not path.is_file() or path.stat().st_size < ALIGNED:
            return None
        voxels = np.memmap(path, np.uint8, mode="r")
        start = 8 + int.from_bytes(voxels[:8].tobytes(), "little")
        try:
            facts = json.loads(voxels[8:start].tobytes())
        except ValueError:  # no file of ours, or one that a crash of the machine has emptied
            return None
        if facts["source"] != source:
            return None
        arrays = []
        for kind, shape in facts["arrays"]:
            start += -start % ALIGNED
            size = math.prod(shape) * np.dtype(kind).itemsize
            if start + size > voxels.size:
                return None
            arrays.append(np.asarray(voxels[start : start + size]).view(kind).reshape(shape))
            start += size
        image, bits, *points = arrays
        x, y, z = facts["spacing_mm"]
        return cls(image, bits, tuple(points), (x, y, z), facts["exclusive"])


def pack_labels(label: Array) -> Array:
    """Labels (K, X, Y, Z) of 0, 1 or IGNORE as bits (B, X, Y, Z); ignored is a voxel, not a class."""
    planes = np.concatenate([label == 1, (label == IGNORE).any(axis=0, keepdims=True)])
    return np.packbits(planes, axis=0, bitorder="little")


def bytes_per_voxel(channels: int, classes: int) -> int:
    """What a voxel takes of memory or disk."""
    return 2 * channels + -(-(classes + 1) // 8)


def first_wins(label: Array) -> Array:
    """Labels (K, X, Y, Z) of 0 and 1 made disjoint: resampling may cut two at exactly one half."""
    taken = np.zeros(label.shape[1:], bool)
    marked = np.zeros_like(label)
    for mask, kept in zip(label, marked, strict=True):
        kept[...] = np.where(taken, 0, mask)
        taken |= mask == 1
    return marked


def mark_ignored(label: Array, voxels: Array) -> Array:
    """Labels (K, X, Y, Z) with these voxels (X, Y, Z) set to IGNORE, in place."""
    if voxels.any():
        label[:, voxels] = IGNORE
    return label
