"""The memory that predicting takes, told before any network is loaded or voxel is read."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from volseg.arguments import InferArguments
from volseg.data import volume_files
from volseg.data.volume import Volume
from volseg.errors import UserError
from volseg.inference.ensemble import Ensemble
from volseg.inference.memory_budget import MemoryBudget
from volseg.inference.predictor import Predictor, PredictorGate, build_predictor, ensemble_member
from volseg.inference.run_settings import configure_run
from volseg.inference.scan_sources import ScanSource

LOADED = 2**30  # what a process holds with torch and a network or two
NO_NETWORK: Any = None


def forecast_memory(ensemble: Ensemble, sources: Sequence[ScanSource], options: InferArguments) -> int:
    """Bytes that the largest of these scans takes at least; 0 where no file's header tells its size."""
    largest = max(sources, key=lambda source: source.voxels)
    if largest.scan or largest.series or not largest.voxels:
        return 0
    try:
        header = volume_files.read_header(largest.paths[0])
    except UserError:
        return 0
    voxels = np.broadcast_to(np.float32(0), header.shape)
    channels = [Volume(voxels, header.affine)] * len(ensemble.facts.channels)
    budget = MemoryBudget(_predictor(ensemble, options), LOADED, 0, set_by_user=False)
    return budget.peak_bytes(channels, beside=False)


def _predictor(ensemble: Ensemble, options: InferArguments) -> Predictor:
    """A predictor that lacks its networks."""
    runs = [configure_run(run, options) for run in ensemble.runs]
    opened = ensemble.gate
    gate = PredictorGate(_predictor(opened.ensemble, options), opened.settings) if opened else None
    return build_predictor(runs[0], *(ensemble_member(run, NO_NETWORK) for run in runs), gate=gate)
