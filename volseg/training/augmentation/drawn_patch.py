"""What is drawn for a patch before any of its voxels is looked at."""

from dataclasses import dataclass

from volseg.training.augmentation.grey_values import Blob, GreyChange
from volseg.training.augmentation.patch_frame import PatchFrame
from volseg.training.loading.packed_scan import PackedScan


@dataclass(frozen=True)
class DrawnPatch:
    """A scan, the frame of a patch in it, and the changes of its grey values in their order.

    First of all the grey values of each class are multiplied by its factor in `class_factors`, without them
    none are, and `blobs` are painted beside the classes.
    """

    scan: PackedScan
    frame: PatchFrame
    class_factors: tuple[float, ...] = ()
    blobs: tuple[Blob, ...] = ()
    changes: tuple[GreyChange, ...] = ()
