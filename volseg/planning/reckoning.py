"""An estimate without a trial, reckoned from those of other batches, for a machine too busy for more."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from volseg.config.config import Config
from volseg.planning.design_search import UseLine
from volseg.planning.resource_estimate import ResourceEstimate


def reckon_estimate(config: Config, measured: Sequence[ResourceEstimate]) -> ResourceEstimate:
    """The estimate of a config on a CPU from others that differ in network, patch, batch and grid alone.

    Seconds of a step and memory go by the voxels of a batch; memory by one larger batch alone is its memory,
    as nobody knows how much of it voxels take. All else is taken from the largest batch that was tried, so
    validation on a coarser grid is overestimated.
    """
    voxels, largest = _batch_voxels(config), max(measured, key=lambda one: _batch_voxels(one.config))
    found = largest.measurements
    memory = _value_at(voxels, measured, [one.peak_memory for one in measured])
    if len(measured) == 1 and voxels < _batch_voxels(largest.config):
        memory = largest.peak_memory
    tree = memory - largest.scans.cached.all + largest.scans.cached.tried
    step = _value_at(voxels, measured, [one.measurements.alone_seconds for one in measured])
    with torch.device("meta"):
        network = config.network.build(len(largest.scans.facts.channels), len(largest.scans.facts.classes))
    update = {
        "parameters": sum(weights.numel() for weights in network.parameters()),
        "shape": _shape_on_grid(found.shape, largest.config, config),
        "steps": 0, "step_seconds": step, "processor_seconds": step, "memory": round(tree),
    }  # fmt: skip
    return replace(
        largest, config=config, measurements=found.model_copy(update=update), process_tree_peak=round(tree)
    )


def _value_at(voxels: int, measured: Sequence[ResourceEstimate], values: Sequence[float]) -> float:
    """The value for so many voxels of a batch, by the straight line through those of the measured ones."""
    unit = max(values)
    points = [(_batch_voxels(one.config), value / unit) for one, value in zip(measured, values, strict=True)]
    return unit * UseLine.through(points).value_at(voxels)


def _batch_voxels(config: Config) -> int:
    return config.train.batch * math.prod(config.train.patch)


def _shape_on_grid(shape: Sequence[int], there: Config, here: Config) -> tuple[int, ...]:
    """The shape of a scan on the grid of `here`, which has another one on that of `there`."""
    old, new = there.data.spacing_mm, here.data.spacing_mm
    if old is None or new is None:
        return tuple(shape)
    return tuple(max(1, round(n * a / b)) for n, a, b in zip(shape, old, new, strict=True))
