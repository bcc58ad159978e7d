"""A layout: a folder with one file of numpy arrays a scan."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from volseg.data.layouts.raw_dataset import Masks, RawDataset, RawScan
from volseg.data.scan_names import case_and_day
from volseg.data.volume import Volume
from volseg.errors import UserError
from volseg.schema import ClassName, Section

IMAGE, SPACING = "image", "spacing_mm"


class NpzFiles(Section):
    """A folder of .npz files, one a scan: `image` (X, Y, Z), `spacing_mm`, and a mask for each class.

    Case and day are those of the file's name, case123_day20.npz. Axes run to the right, to the front and up.
    """

    name: Literal["npz"] = "npz"
    classes: tuple[ClassName, ...] = ()

    def scans(self, root: Path) -> RawDataset:
        """The dataset; voxels are not read.

        Raises:
            UserError: no .npz file.
        """
        files = sorted(root.glob("*.npz"))
        if not files:
            raise UserError(f"{root}: holds no .npz file")
        with np.load(files[0]) as arrays:
            found = tuple(name for name in arrays.files if name not in (IMAGE, SPACING))
        scans = tuple(NpzScan(*case_and_day(path.stem), path.stem, "train", path) for path in files)
        return RawDataset(self.classes or found, ("mr",), exclusive=False, scans=scans)


@dataclass(frozen=True)
class NpzScan(RawScan):
    """A scan in a file of arrays."""

    path: Path

    @property
    def source(self) -> Path:
        """The file that messages name."""
        return self.path

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that the scan is read from."""
        return (self.path,)

    def channels(self) -> list[Volume]:
        """The image."""
        with np.load(self.path) as arrays:
            return [Volume(arrays[IMAGE], np.diag([*arrays[SPACING], 1.0]))]

    def labels(self, classes: Sequence[str], image: Volume | None) -> Masks:
        """The masks of the classes."""
        del image
        with np.load(self.path) as arrays:
            if missing := [name for name in classes if name not in arrays]:
                raise UserError(f"{self.path}: has no mask of {', '.join(missing)}")
            return {name: arrays[name].astype(bool) for name in classes}
