"""What is odd about the headers of a scan's files, each by itself and beside the first."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from volseg.data.volume import ROUNDING, Volume, turned_like
from volseg.data.volume_files.reading import VolumeHeader, read_header
from volseg.errors import UserError


class Oddity(NamedTuple):
    """A line on a file, its name in front: on its header, or on its grid beside another file's."""

    kind: Literal["header", "grid"]
    message: str


def scan_oddities(paths: Sequence[Path]) -> list[Oddity]:
    """The oddities of a scan's files that can be read; their readers tell of the others."""
    headers: dict[Path, VolumeHeader] = {}
    for path in paths:
        try:
            headers[path] = read_header(path)
        except UserError:
            continue
    lines = [
        Oddity("header", f"{path}: {odd}") for path, header in headers.items() for odd in header.oddities
    ]
    return [*lines, *_grid_oddities(headers)]


def _grid_oddities(headers: dict[Path, VolumeHeader]) -> Iterator[Oddity]:
    """A line for each file whose grid is the first one's but for rounding, or for a turn of its axes."""
    grids = [(path, _empty_volume(header)) for path, header in headers.items()]
    for path, volume in grids[1:]:
        source, first = grids[0]
        turned = turned_like(volume, first)
        if turned is None:
            continue
        if not volume.same_grid(first):
            yield Oddity(
                "grid", f"{path}: its axes are turned against those of {source}; they are turned back"
            )
        far = first.grid_distance(turned)
        if far > ROUNDING:
            lies = f"lies {far:.2g} of a voxel beside {source} at the farthest corner"
            yield Oddity("grid", f"{path}: {lies}; they are taken for one grid")


def _empty_volume(header: VolumeHeader) -> Volume:
    """The grid of a header, without memory for voxels."""
    shape = (*header.shape, 1, 1, 1)[:3]
    return Volume(np.broadcast_to(np.uint8(0), shape), header.affine)
