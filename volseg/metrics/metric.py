"""Base class of all metrics: a number from a pair of masks, its unit and the laws that it obeys."""

from typing import ClassVar, Literal

from volseg.metrics.mask_pair import MaskPair
from volseg.schema import Section

ROUNDING_MM = 1e-6  # NIfTI stores voxel sizes as float32: 3.0000001 mm is within 3 mm
Unit = Literal["", "%", "mm", "ml"]


class BaseMetric(Section):
    """A metric's unit and its laws, which are tested accordingly."""

    unit: ClassVar[Unit] = ""
    symmetric: ClassVar[bool] = True  # labels and prediction may change places
    slicewise: ClassVar[bool] = False  # slices, which lie across Z, are measured one by one
    unbounded: ClassVar[bool] = False  # infinite for some masks
    better: ClassVar[Literal["", "higher", "lower"]] = ""  # for `volseg compare`; ours are told by name
    column: ClassVar[str] = ""

    @property
    def column_name(self) -> str:
        """The metric's name in scores.csv: `column`, or that of the class."""
        return self.column or type(self).__name__

    def __call__(self, pair: MaskPair) -> float:
        """The metric of a prediction beside the labels."""
        raise NotImplementedError
