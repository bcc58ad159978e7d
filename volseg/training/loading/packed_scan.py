"""A scan as it is cached: on the network's grid, 16 bits a voxel of the image and one bit a class."""

import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from volseg.arrays import IGNORE
from volseg.data.volume import Array
from volseg.schema import Spacing
from volseg.system.files import atomic_path

ALIGNED = 64  # bytes; each array of a file begins at a multiple of it


@dataclass(frozen=True)
class PackedScan:
    """A scan: `image` float16 (C, X, Y, Z), `bits` uint8 (B, X, Y, Z), `points` int16 (N, 3) of each class.

    Bit k of the bytes is class k, and the bit behind the last class marks ignored voxels. `points` are
    some voxels of the class; patches are centred on them. `flattened` is the share of each class's voxels
    that the scaling made 0 or 1, in the channel that has the most of them. `teacher` are the probabilities
    of a teacher in 255ths, uint8 (K, X, Y, Z), if there are any.
    """

    image: Array
    bits: Array
    points: tuple[Array, ...]
    spacing_mm: Spacing
    exclusive: bool
    flattened: tuple[float, ...] = ()
    teacher: Array | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """(X, Y, Z)."""
        return self.image.shape[1:]

    @property
    def class_count(self) -> int:
        """The number of classes."""
        return len(self.points)

    @cached_property
    def held_planes(self) -> tuple[int, ...]:
        """The classes that have voxels; the number behind the last class where voxels are ignored."""
        held = np.bitwise_or.reduce(self.bits.reshape(len(self.bits), -1), axis=1)
        return tuple(n for n in range(self.class_count + 1) if held[n // 8] >> n % 8 & 1)

    def write(self, path: Path, source: Any) -> None:
        """Write to one file, atomically; `source` is JSON that identifies the scan's own files."""
        maps = [] if self.teacher is None else [self.teacher]
        arrays = [self.image, self.bits, *maps, *self.points]
        facts = {
            "source": source,
            "spacing_mm": self.spacing_mm,
            "exclusive": self.exclusive,
            "flattened": self.flattened,
            "taught": bool(maps),
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
        """The scan in a file, memory-mapped; None if the file is damaged or of another `source`.

        Whoever wrote into it would change a copy: torch takes no arrays that are read-only.
        """
        if not path.is_file() or path.stat().st_size < ALIGNED:
            return None
        voxels = np.memmap(path, np.uint8, mode="c")
        start = 8 + int.from_bytes(voxels[:8].tobytes(), "little")
        try:
            facts = json.loads(voxels[8:start].tobytes())
        except ValueError:  # another kind of file, or one that a crash of the machine has emptied
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
        teacher = points.pop(0) if facts.get("taught") else None
        x, y, z = facts["spacing_mm"]
        flattened = tuple(facts["flattened"])
        return cls(image, bits, tuple(points), (x, y, z), facts["exclusive"], flattened, teacher)


def pack_labels(label: Array) -> Array:
    """Labels (K, X, Y, Z) of 0, 1 or IGNORE as bits (B, X, Y, Z); a voxel is ignored for all classes."""
    planes = np.concatenate([label == 1, (label == IGNORE).any(axis=0, keepdims=True)])
    return np.packbits(planes, axis=0, bitorder="little")


def bytes_per_voxel(channels: int, classes: int) -> int:
    """Bytes of a packed voxel."""
    return 2 * channels + -(-(classes + 1) // 8)


def first_wins(label: Array) -> Array:
    """Labels (K, X, Y, Z) of 0 and 1 made disjoint: the first class keeps a voxel that several have."""
    taken = np.zeros(label.shape[1:], bool)
    disjoint = np.zeros_like(label)
    for mask, target in zip(label, disjoint, strict=True):
        target[...] = np.where(taken, 0, mask)
        taken |= mask == 1
    return disjoint
