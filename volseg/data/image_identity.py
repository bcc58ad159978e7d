"""What tells a scan from all others: its image first, its name second.

A name says little: `case1` of two hospitals are two patients, and one image may lie in two datasets by two
names. An image's hash is of its shape and the values of its slices, whatever type they are stored in.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence

import numpy as np

from volseg.data.volume import Array, Volume
from volseg.schema import Section


class ScanIdentity(Section):
    """A scan's name, its case and its image's hash; '' where the hash is unknown."""

    name: str
    case: str
    image: str = ""

    def is_same_image(self, other: "ScanIdentity") -> bool:
        """Whether both have one image."""
        return bool(self.image) and self.image == other.image

    def is_namesake(self, other: "ScanIdentity") -> bool:
        """Whether another image has the same name."""
        return self.name == other.name and bool(self.image and other.image) and self.image != other.image

    def is_same_scan(self, other: "ScanIdentity") -> bool:
        """Whether both have one image or, where the image of either is unknown, one name."""
        return self.is_same_image(other) or (self.name == other.name and not self.is_namesake(other))


def image_hash(channels: Sequence[Volume]) -> str:
    """The hash of an image's channels (X, Y, Z), in hex."""
    planes = (np.ascontiguousarray(channel.voxels.T) for channel in channels)
    return hash_of_checksums(channels[0].voxels.shape, (map(image_checksum, stack) for stack in planes))


def hash_of_checksums(shape: Sequence[int], checksums: Iterable[Iterable[str]]) -> str:
    """The hash of an image by its shape and the checksums of each channel's slices."""
    content = [list(shape), [list(of_channel) for of_channel in checksums]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def image_checksum(plane: Array) -> str:
    """The checksum of a slice of an image, the same in every type that holds its values."""
    return slice_checksum(_plain_values(plane))


def slice_checksum(plane: Array) -> str:
    """64 bits that differ for slices that differ (but for one in 10^9 datasets)."""
    from isal import isal_zlib

    data = plane.reshape(-1).view(np.uint8).data
    return f"{isal_zlib.crc32(data):08x}{isal_zlib.adler32(data):08x}"


def _plain_values(plane: Array) -> Array:
    """The values in 16 bits where they are whole numbers of 16 bits, else as float32."""
    if plane.dtype in (np.int16, np.uint16):
        return plane
    low, high = float(plane.min()), float(plane.max())
    whole = plane.dtype.kind in "biu" or bool((plane == np.rint(plane)).all())
    if whole and low >= 0 and high < 2**16:
        return plane.astype(np.uint16)
    return plane.astype(np.int16 if whole and low >= -(2**15) and high < 2**15 else np.float32)
