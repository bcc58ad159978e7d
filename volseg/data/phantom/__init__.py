"""A synthetic abdominal MR dataset in the raw layout, with days that differ as much as real ones.

The anatomy is drawn in millimetres, so the same patients exist on small and on full-size grids.
"""

from volseg.data.phantom.dataset import PhantomFacts, write
from volseg.data.phantom.grids import FULL, SMALL, Grid
from volseg.data.phantom.scans import CLASSES, scan

__all__ = ["CLASSES", "FULL", "SMALL", "Grid", "PhantomFacts", "scan", "write"]
