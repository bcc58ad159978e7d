"""Metrics of a predicted mask beside the labels of one class of one scan (`MaskPair`).

Their values where a mask is empty (never a silent 0):

| metric | both empty | only labels empty | only prediction empty |
|---|---|---|---|
| Dice, IoU, NSD | NaN | 0 | 0 |
| HD, HD95, ASSD | NaN | infinity | infinity |
| APL_mm | NaN | NaN | the labels' whole contour |
| volume_ml | 0 | its volume | 0 |
| truth_ml | 0 | 0 | its volume |
| volume_difference_ml | 0 | the prediction's volume | minus the labels' volume |
| volume_difference_percent | NaN | infinity | -100 |

NaN is "nothing to measure" and leaves a mean; infinity is "missed" or "invented" and must be counted
beside it. Infinite only are metrics that say so (`unbounded`).
"""

from collections.abc import Sequence
from typing import Annotated

from volseg.metrics.distance import ASSD, HD, HD95
from volseg.metrics.mask_pair import MaskPair
from volseg.metrics.overlap import Dice, IoU
from volseg.metrics.surface import APL, SurfaceDice
from volseg.metrics.volume import RelativeVolumeDifference, Volume, VolumeDifference
from volseg.schema import NamedUnion

Metric = Annotated[
    Dice | IoU | HD | HD95 | ASSD | SurfaceDice | APL | Volume | VolumeDifference | RelativeVolumeDifference,
    NamedUnion(),
]

DEFAULT: tuple[Metric, ...] = (
    Dice(),
    IoU(),
    HD(),
    HD95(),
    ASSD(),
    SurfaceDice(tolerance_mm=2),
    SurfaceDice(tolerance_mm=3),
    APL(),
    Volume(),
    Volume(of="truth"),
    VolumeDifference(),
    RelativeVolumeDifference(),
)


def compute_metrics(pair: MaskPair, metrics: Sequence[Metric] = DEFAULT) -> dict[str, float]:
    """The value of each metric by its name in scores.csv."""
    return {metric.column_name: metric(pair) for metric in metrics}
