"""A teacher's probability maps of scans, as `volseg infer --save-probabilities` writes them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from volseg.data import volume_files
from volseg.data.preprocessing.grid import NetworkGrid
from volseg.data.preprocessing.resampling import resample_volume
from volseg.data.volume import Volume, turned_like
from volseg.errors import UserError
from volseg.inference.prediction_folder import PROBABILITY

Levels = npt.NDArray[np.uint8]
HALF = 128
"""The first level, in 255ths, of a probability of at least one half."""


@dataclass(frozen=True)
class TeacherMaps:
    """The maps in a folder of predictions: of these classes, of the scans of these names."""

    folder: Path
    classes: tuple[str, ...]
    scans: frozenset[str]

    def files(self, scan: str) -> list[Path]:
        """The file of each class's map of a scan, by absolute paths; none of a scan without maps."""
        folder = self.folder.resolve() / scan
        return [folder / f"{name}{PROBABILITY}" for name in self.classes] if scan in self.scans else []

    def read(self, scan: str, image: Volume) -> list[Levels]:
        """The map of each class of a scan in 255ths on the grid of its image (X, Y, Z); none without maps.

        Raises:
            UserError: a map that can't be read, holds no probabilities or lies on another grid.
        """
        return [_read_levels(path, image) for path in self.files(scan)]


def _read_levels(path: Path, image: Volume) -> Levels:
    volume = volume_files.read(path)
    turned = turned_like(volume, image)
    if turned is None:
        raise UserError(f"{path}: {other_grid_text(volume, image)}")
    least, most = float(turned.voxels.min()), float(turned.voxels.max())
    if not (least >= 0 and most <= 1):
        raise UserError(
            f"{path}: holds values from {least:g} to {most:g}, not probabilities; predict it again by "
            "`volseg infer --save-probabilities`"
        )
    return np.rint(turned.voxels * np.float32(255)).astype(np.uint8)


def other_grid_text(volume: Volume, image: Volume) -> str:
    """What is wrong with a map on another grid, and the way out."""
    return (
        f"lies on another grid ({volume.grid_text}) than its scan ({image.grid_text}); predict this scan by "
        "`volseg infer --save-probabilities`"
    )


def on_network_grid(levels: Levels, grid: NetworkGrid) -> Levels:
    """A map on the network's grid, resampled linearly as the image is."""
    oriented = grid.orient(levels)
    if oriented.shape == grid.shape:
        return np.ascontiguousarray(oriented)
    return np.rint(resample_volume(oriented.astype(np.float32), grid.shape)).astype(np.uint8)
