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

NaN is "nothing to measure" and leaves a mean; infinity (of `unbounded` metrics) is "missed" or "invented"
and is counted beside it.
"""

import logging
from collections.abc import Sequence
from functools import cache
from typing import Annotated, cast

from pydantic import ValidationError

from volseg.metrics.distance import ASSD, HD, HD95
from volseg.metrics.mask_pair import MaskPair
from volseg.metrics.metric import BaseMetric
from volseg.metrics.overlap import Dice, IoU
from volseg.metrics.surface import APL, SurfaceDice
from volseg.metrics.volume import RelativeVolumeDifference, Volume, VolumeDifference
from volseg.plugins import Plugin
from volseg.schema import NamedUnion, Section, usable_plugins

log = logging.getLogger(__name__)

Metric = Annotated[
    Dice | IoU | HD | HD95 | ASSD | SurfaceDice | APL | Volume | VolumeDifference | RelativeVolumeDifference,
    NamedUnion("volseg.metrics", BaseMetric, ("__call__",)),
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


def plugin_metrics() -> dict[str, tuple[Plugin, BaseMetric]]:
    """The metrics of other packages, which are measured beside DEFAULT, by their names in scores.csv."""
    return _build_plugin_metrics(tuple(usable_plugins(Metric)))


@cache
def _build_plugin_metrics(
    found: tuple[tuple[Plugin, type[Section]], ...],
) -> dict[str, tuple[Plugin, BaseMetric]]:
    """One of each, with its default settings; one without those, or whose name is taken, is told of."""
    metrics: dict[str, tuple[Plugin, BaseMetric]] = {}
    taken = {metric.column_name for metric in DEFAULT}
    for plugin, component in found:
        try:
            metric = cast("BaseMetric", component())
        except ValidationError:
            log.warning("metric '%s' of the package %s has settings without a default", plugin.name, plugin)
            continue
        if metric.column_name in {*taken, *metrics}:
            log.warning(
                "metric '%s' of the package %s: there is a %s", plugin.name, plugin, metric.column_name
            )
            continue
        metrics[metric.column_name] = plugin, metric
    return metrics


def all_metrics() -> dict[str, BaseMetric]:
    """What `volseg evaluate` measures, by its name in scores.csv."""
    own: dict[str, BaseMetric] = {metric.column_name: metric for metric in DEFAULT}
    return own | {name: metric for name, (_, metric) in plugin_metrics().items()}


def compute_metrics(pair: MaskPair, metrics: Sequence[BaseMetric] = ()) -> dict[str, float]:
    """The value of each metric, by default of all, by its name in scores.csv."""
    return {metric.column_name: metric(pair) for metric in metrics or all_metrics().values()}
