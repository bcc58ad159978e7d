"""The ends of a training patch along z, for networks that see neighbouring slices.

Such a network clamps the neighbours of a patch's outer slices to the patch. At the ends of a scan that is
what inference does too; elsewhere the true neighbours are another slice's, and the loss must not count.
"""

import numpy as np
from torch import Tensor

from volseg.arrays import IGNORE
from volseg.training.augmentation.patch_frame import PatchFrame


def complete_ends(frame: PatchFrame, depth: int, reach: int, *, image: Tensor, label: Tensor) -> slice:
    """Make the ends of a patch, image (C, X, Y, Z) and label (K, X, Y, Z), those that inference would see.

    `depth` is the scan's, in slices; a bend is left out of account. Slices of the patch beyond the scan
    become the scan's last one there. They are ignored by the loss, and so are slices with neighbours, up to
    `reach`, that the scan has but the patch has not. The slices that are left are returned.
    """
    first, last = _slices_in_scan(frame, depth)
    inner = slice(max(first, 0), min(last + 1, frame.size[2]))
    if inner.stop <= inner.start:
        label.fill_(IGNORE)
        return slice(0, 0)
    image[..., : inner.start] = image[..., inner.start, None]
    image[..., inner.stop :] = image[..., inner.stop - 1, None]
    before = reach if first < 0 else inner.start
    after = max(frame.size[2] - reach, 0) if last >= frame.size[2] else inner.stop
    label[..., :before] = IGNORE
    label[..., after:] = IGNORE
    return slice(before, after)


def _slices_in_scan(frame: PatchFrame, depth: int) -> tuple[int, int]:
    """The first and last slice, counted as the patch's, that would lie in the scan if the patch went on."""
    centre = (frame.size[2] - 1) / 2
    step = 1.0 if frame.matrix is None else float(frame.matrix[2, 2])
    edges = np.array([-0.5, depth - 0.5])  # of the scan: a slice is as thick as their distance
    low, high = sorted((edges - frame.start[2] - centre) / step + centre)
    return int(np.ceil(low)), int(np.ceil(high)) - 1
