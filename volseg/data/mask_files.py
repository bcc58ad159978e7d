"""Masks from files of any tool, read onto the grid of the scan that they are of."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from volseg.arguments import MaskOptions
from volseg.data import volume_files
from volseg.data.volume import Array, Volume, turned_like
from volseg.errors import UserError
from volseg.formatting import first_few

Mask = npt.NDArray[np.bool_]
NEARLY = 1e-3  # of a whole number: what scaled integers and interpolation leave
DISTINCT = 1000  # values from which on they are not listed


@dataclass(frozen=True)
class MaskFile:
    """The file of a class's mask; `values` are the class's in a map of labels, none where it is the mask.

    `known` are all values with a meaning in a map that may hold no others.
    """

    path: Path
    values: tuple[int, ...] = ()
    known: tuple[int, ...] = ()


@dataclass
class MaskReader:
    """Reads the masks of one scan onto its `grid`; `notes` tell what was not as it should be.

    `options` are the user's; there are none for labels, of which `advice` tells what to do.
    """

    grid: Volume
    options: MaskOptions | None = None
    notes: list[str] = field(default_factory=list)
    advice: str = "run `volseg prepare` again"
    _last: tuple[Path, Volume] | None = None

    def read(self, mask: MaskFile) -> Mask:
        """The mask (X, Y, Z), its axes turned back where they were turned.

        Bool, 0 and 1, 0 and 255, and 0 and any one positive number are masks; of a map of labels the
        class's values are. Probabilities are cut at the threshold.

        Raises:
            UserError: damaged, other values, probabilities without a threshold, or another grid that
                must not be resampled.
        """
        volume = self._volume(mask.path)
        if not mask.values:
            return self.fit(volume, str(mask.path))
        return self._on_grid(volume.with_voxels(self._class_in_map(mask, volume)), str(mask.path))

    def fit(self, volume: Volume, where: str) -> Mask:
        """The mask of one class that a volume is, as `read` gives it; `where` names it in messages."""
        inside = self._inside(where, volume.voxels)
        if inside is not None:
            return self._on_grid(volume.with_voxels(inside), where)
        threshold = np.float32(self.options.threshold if self.options else None)
        probability = volume.with_voxels(volume.voxels.astype(np.float32, copy=False))
        return self._on_grid(probability, where) >= threshold

    def _volume(self, path: Path) -> Volume:
        """The volume of a file; the last one is kept, as several classes may be in it."""
        if self._last is None or self._last[0] != path:
            self._last = path, volume_files.read(path)
        return self._last[1]

    def _inside(self, where: str, voxels: Array) -> Mask | None:
        """Where a mask is not 0; None where it holds probabilities for which a threshold is stated."""
        whole = self._whole_numbers(where, voxels)
        if whole is not None:
            inside, lowest, highest = whole != 0, whole.min(), whole.max()
            usual = highest in (0, 1, 255)
            one_value = highest <= 1 or np.array_equal(inside, whole == highest)
            if one_value and lowest >= 0 and (usual or lowest == 0):
                if not usual:
                    self._note(f"{where}: its mask has the value {highest:g}, not 1")
                return np.asarray(inside)
            advice = "expected a mask of one class, 0 and 1"
        elif voxels.min() >= 0 and voxels.max() <= 1 + NEARLY:
            if self.options and self.options.threshold is not None:
                return None
            advice = "these are probabilities; " + self._advice(
                "pass --threshold, e.g. 0.5, to cut them there"
            )
        else:
            advice = "expected a mask, 0 and 1"
        raise UserError(f"{where}: {_value_text(voxels)}; {advice}")

    def _class_in_map(self, mask: MaskFile, volume: Volume) -> Mask:
        """Where a map of labels has a class's values."""
        labels = self._whole_numbers(str(mask.path), volume.voxels)
        if labels is None:
            raise UserError(f"{mask.path}: {_value_text(volume.voxels)}; expected a map of labels")
        if mask.known and not (np.isin(labels, (0, *mask.known))).all():
            known = ", ".join(map(str, mask.known))
            raise UserError(
                f"{mask.path}: {_value_text(labels)}; expected 0 and {known}, or a dataset.json beside it "
                'that names them in "labels", as nnU-Net writes it'
            )
        return np.isin(labels, mask.values)

    def _whole_numbers(self, where: str, voxels: Array) -> Array | None:
        """The voxels, rounded where they are nearly whole; None where they are not (NaN is not either)."""
        if voxels.dtype.kind != "f":
            return voxels
        rounded = np.rint(voxels)
        away = np.abs(voxels - rounded)
        if not (away <= NEARLY).all():
            return None
        if away.any():
            self._note(f"{where}: holds {voxels.flat[int(away.argmax())]:.7g}: rounded to whole numbers")
        return rounded

    def _on_grid(self, volume: Volume, where: str) -> Array:
        turned = turned_like(volume, self.grid)
        if turned is not None:
            return turned.voxels
        grids = f"({volume.grid_text}) than its scan ({self.grid.grid_text})"
        if not (self.options and self.options.resample):
            advice = self._advice("save it on the scan's grid, or pass --resample")
            raise UserError(f"{where}: lies on another grid {grids}; {advice}")
        resampled = resample_onto(volume, self.grid)
        if volume.voxels.any() and not resampled.any():
            raise UserError(f"{where}: resampled, nothing is left of it: it lies on another grid {grids}")
        self._note(f"{where}: resampled: it lies on another grid {grids}")
        return resampled

    def _advice(self, text: str) -> str:
        return self.advice if self.options is None else text

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def read_grid(path: Path) -> Volume:
    """The grid of a volume's file by its header; its voxels are not read and all 0.

    Raises:
        UserError: missing or unreadable.
    """
    header = volume_files.read_header(path)
    return Volume(np.broadcast_to(np.uint8(0), header.shape), header.affine, header.place)


def resample_onto(volume: Volume, grid: Volume) -> Array:
    """The voxels at the places of another grid, 0 beyond the volume: of masks the nearest, else linearly."""
    from scipy.ndimage import affine_transform

    to_volume = np.linalg.inv(volume.affine) @ grid.affine
    is_mask = volume.voxels.dtype == np.bool_
    voxels = volume.voxels.view(np.uint8) if is_mask else volume.voxels
    resampled: Array = affine_transform(
        voxels,
        to_volume[:3, :3],
        to_volume[:3, 3],
        output_shape=grid.voxels.shape,
        order=0 if is_mask else 1,
        mode="grid-constant",
    )
    return resampled.view(np.bool_) if is_mask else resampled


def _value_text(voxels: Array) -> str:
    """The values of voxels in words, few by name: `holds the values 0, 1, 3`."""
    if not np.isfinite(voxels).all():
        return "holds values that are no numbers"
    sample: Sequence[float] = np.unique(voxels)[:DISTINCT].tolist()
    if len(sample) > 10:
        return f"holds {len(sample)} values or more from {voxels.min():.6g} to {voxels.max():.6g}"
    return f"holds the values {', '.join(first_few([f'{value:.6g}' for value in sample], 'values'))}"
