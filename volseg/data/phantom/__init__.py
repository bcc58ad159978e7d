"""A synthetic abdominal MR dataset in the raw layout, with days that differ as much as real ones.

The anatomy is drawn in mm, so the same patients exist on small and on full-size grids: `patient` draws a case
and its days, `trunk` and `hollow_organs` put them on a grid, `acquisition` adds the scanner and the labels,
`dataset` writes the raw layout.

Real labels stop at a cut: both bowels end on one slice though they go on in the image. Here the cut is drawn
for each day at 6 +- 1.5 mm below the iliac crest, where the image shows the wings' first slice, a disc and
the fork of the great vessels; so a model can learn it to a slice or two. Real cuts may be harder to see.
"""

from volseg.data.phantom.acquisition import CLASSES, simulate_scan
from volseg.data.phantom.dataset import PhantomSummary, write_like_kaggle, write_phantom
from volseg.data.phantom.grids import FULL, SMALL, ScanGrid

__all__ = [
    "CLASSES", "FULL", "SMALL", "PhantomSummary", "ScanGrid", "simulate_scan", "write_like_kaggle",
    "write_phantom",
]  # fmt: skip
