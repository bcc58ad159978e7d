"""The scan of the case's day before, and its contours at the place of this one."""

from dataclasses import dataclass

import numpy as np

from volseg.data.dataset import Dataset, Sample
from volseg.data.mask_files import Mask, MaskReader, read_grid, resample_onto
from volseg.data.volume import Affine, Volume, turned_like
from volseg.inference.prediction_folder import Prediction


@dataclass(frozen=True)
class EarlierScan:
    """An earlier scan: its `prediction`, its `sample` in the dataset, or both; its labels come first."""

    name: str
    prediction: Prediction | None
    sample: Sample | None

    def has_class(self, class_name: str) -> bool:
        """Whether there is a contour of the class."""
        return has_labels(self.sample, class_name) or bool(
            self.prediction and class_name in self.prediction.classes
        )

    def mask(self, class_name: str, grid: Volume, dataset: Dataset | None) -> Mask:
        """The class's mask on the grid of another scan, by the nearest voxel.

        Raises:
            UserError: missing or damaged files.
        """
        if dataset and self.sample and has_labels(self.sample, class_name):
            here = read_grid(dataset.grid_file(self.sample))
            mask = dataset.label(self.sample, class_name)
        elif self.prediction:
            file = self.prediction.mask_file(class_name)
            here = read_grid(file.path)
            mask = MaskReader(here).read(file)
        else:
            return np.zeros(grid.voxels.shape, bool)
        moved = Volume(mask, _common_affine(here, grid))
        turned = turned_like(moved, grid)
        return turned.voxels if turned else resample_onto(moved, grid)


def has_labels(sample: Sample | None, class_name: str) -> bool:
    """Whether a scan has labels of a class that are not known to be bad."""
    return sample is not None and not sample.excluded and class_name in (sample.labels or {})


def _common_affine(here: Volume, there: Volume) -> Affine:
    """The affine of a volume; centred on the other where neither tells its place, as of stacks of slices."""
    if here.affine[:3, 3].any() or there.affine[:3, 3].any():
        return here.affine
    affine = here.affine.copy()
    affine[:3, 3] = _centre_mm(there) - _centre_mm(here)
    return affine


def _centre_mm(volume: Volume) -> Affine:
    middle = (np.asarray(volume.voxels.shape) - 1) / 2
    centre: Affine = volume.affine[:3, :3] @ middle + volume.affine[:3, 3]
    return centre
