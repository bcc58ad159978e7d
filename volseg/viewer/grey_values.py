"""The grey values of an image as viewers read them, and those that are black and white at first."""

import numpy as np
import numpy.typing as npt

from volseg.data.preprocessing.intensity_scaling import Percentiles
from volseg.data.volume import Array

AIR, METAL = -700.0, 3100.0  # HU: an image between these, with much of the first, is a CT
SOFT_TISSUE = (-160.0, 240.0)  # HU: the usual window of the abdomen
STEP = 3  # the grey levels are computed from every third row and column, which is enough


def storable_grey(voxels: Array) -> npt.NDArray[np.int16] | npt.NDArray[np.float32]:
    """Voxels in a type that every viewer reads: whole numbers as int16, all others as float32."""
    if voxels.dtype.kind in "biu" and voxels.min() >= -(2**15) and voxels.max() < 2**15:
        return voxels.astype(np.int16, copy=False)
    grey = voxels.astype(np.float32)
    finite = np.isfinite(grey)
    if not finite.all():
        least, most = grey.min(where=finite, initial=np.inf), grey.max(where=finite, initial=-np.inf)
        low, high = (float(least), float(most)) if finite.any() else (0.0, 0.0)
        np.nan_to_num(grey, copy=False, nan=low, neginf=low, posinf=high)
    return grey


def grey_window(voxels: Array) -> tuple[float, float]:
    """The values that are shown black and white at first: soft tissue of CT, else nearly all of the body."""
    some = voxels[::STEP, ::STEP]
    some = some[np.isfinite(some)]
    if not some.size:
        return 0.0, 1.0
    if some.min() < AIR:
        low, high = np.percentile(some, (1, 99))
        if low < AIR and SOFT_TISSUE[0] < high < METAL:
            return SOFT_TISSUE
    low, high = Percentiles().levels(some)
    if low >= high:  # an image of one grey value on a blank
        finite = voxels[np.isfinite(voxels)]
        low, high = float(finite.min()), float(finite.max())
    return (low, high) if low < high else (low, low + 1)
