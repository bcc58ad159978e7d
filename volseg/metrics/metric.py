"""What all metrics are: a number from a pair of masks, its unit and the laws it obeys."""

from typing import ClassVar, Literal

from volseg.schema import Section

ROUNDING_MM = 1e-6  # NIfTI keeps voxel sizes as float32: 3.0000001 mm is within 3 mm
Unit = Literal["", "%", "mm", "ml"]


class BaseMetric(Section):
    """What every metric says of itself; what laws it obeys is tested accordingly."""

    unit: ClassVar[Unit] = ""
    symmetric: ClassVar[bool] = True  # truth and prediction may change places
    slicewise: ClassVar[bool] = False  # slices, which lie across Z, are seen one by one
    unbounded: ClassVar[bool] = False  # infinite for some masks

    @property
    def column_name(self) -> str:
        """Its name in scores.csv."""
        return type(self).__name__
