"""Files that are there twice: images with the same UID, header and pixels, or the same bytes."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from volseg.data.layouts.dicom.headers import Slice

PIXELS_ALONE = 64 << 20  # bytes of a file up to which its pixels are compared, beyond it all of its bytes
CHUNK = 1 << 20

One = TypeVar("One")


def drop_duplicates(slices: Sequence[Slice]) -> tuple[list[Slice], int]:
    """The slices without those that come twice, with the same UID, place, scale and pixels; their count."""
    groups: dict[tuple[object, ...], list[Slice]] = defaultdict(list)
    for one in slices:
        groups[_copy_key(one)].append(one)
    kept: list[Slice] = []
    hashed = lru_cache(maxsize=None)(_content_hash)
    for group in groups.values():
        alone = len(group) == 1 or not group[0].file.sop_instance_uid or group[0].plane is None
        hashes: list[object] = [None if alone else hashed(one.file.path) for one in group]
        kept += _first_of_each(group, hashes)
    return kept, len(slices) - len(kept)


def same_bytes_once(paths: Sequence[Path]) -> list[Path]:
    """The files without those whose bytes are all those of an earlier one."""
    sizes: dict[int, list[Path]] = defaultdict(list)
    for path in paths:
        sizes[_size_of(path)].append(path)
    kept: list[Path] = []
    for group in sizes.values():
        kept += _first_of_each(group, [None if len(group) == 1 else _file_hash(path) for path in group])
    return sorted(kept, key=paths.index)


def _copy_key(one: Slice) -> tuple[object, ...]:
    """What copies of an image have in common, beside their pixels."""
    file, frame = one.file, one.plane.frame if one.plane else None
    bits = (file.photometric, file.bits, file.bits_stored, file.high_bit)
    return (file.sop_instance_uid, frame, one.place, one.rescale, bits, one.echo, one.kind, one.moment)


def _first_of_each(group: Sequence[One], hashes: Sequence[object]) -> list[One]:
    """The first of each hash; all without one."""
    seen: set[object] = set()
    kept = []
    for one, mark in zip(group, hashes, strict=True):
        if mark is None or mark not in seen:
            kept.append(one)
        seen.add(mark)
    return kept


def _content_hash(path: Path) -> bytes | None:
    """A hash of the pixels as they are stored, of a large file of all; None where they can't be read."""
    import pydicom

    if not 0 <= _size_of(path) <= PIXELS_ALONE:
        return _file_hash(path)
    try:
        dataset = pydicom.dcmread(path, force=True, specific_tags=["PixelData"])
        return hashlib.sha256(dataset["PixelData"].value).digest()
    except Exception:  # pydicom raises what it likes on damaged files
        return None


def _file_hash(path: Path) -> bytes | None:
    """A hash of a file, read in chunks; None where it can't be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except OSError:
        return None
    return digest.digest()


def _size_of(path: Path) -> int:
    """The bytes of a file; -1 where it can't be read."""
    try:
        return path.stat().st_size
    except OSError:
        return -1
