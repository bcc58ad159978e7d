"""A forecast of the time and memory of a training on a GPU that isn't here, in the place of a trial.

Nothing in it is measured on that GPU. `forecast_step` runs a step without numbers, `forecast_gpus` knows the
GPUs; what comes on top of the step is put here, with its source.
"""

import math
from dataclasses import replace
from pathlib import Path

from volseg.arguments import Fold
from volseg.config.config import Config
from volseg.data.dataset import Dataset, Sample
from volseg.data.preprocessing.grid import NetworkGrid
from volseg.data.volume_files.reading import read_header
from volseg.inference.tiling import AxisTiling
from volseg.model.engines.torch_device import TYPES
from volseg.planning.forecast_gpus import Gpu
from volseg.planning.forecast_recorder import Operation
from volseg.planning.forecast_step import StepForecast, StepInput, forecast_step
from volseg.planning.resource_estimate import (
    ResourceEstimate,
    TrialAndTotal,
    TrialScans,
    TrialTooLargeError,
    select_scans,
)
from volseg.planning.trial_training import TrialMeasurements
from volseg.training import train
from volseg.training.loading.device_scans import SHARE

CONTEXT = 500 * 10**6
"""Bytes of a CUDA context with the kernels of the libraries; 300 to 600 MB by GPU and version."""
RESERVED = 1.1
"""What torch's allocator takes of a GPU, as a multiple of what lives at once. With it and CONTEXT nnU-Net's
plain network comes to 8.8 GB (2 x 128^3, 14 classes), of which its authors report 7.7."""
CUT_BYTES, CUT_MOVED = 40, 200
"""Bytes of each voxel of the patch that is cut ahead, and bytes that its memory moves for each: a guess."""
FORWARD = 1 / 3
"""The forward pass's share of a step: each gradient, of image and weights, takes as long."""
SCAN_SECONDS, SAVING_SECONDS = 0.9, 1.0
"""Seconds of a validated scan besides the network, as of infer on a CPU (benchmarks/README.md), and of a
checkpoint."""


def forecast_resources(config: Config, data: Path, gpu: Gpu, *, fold: Fold = 0) -> ResourceEstimate:
    """The forecast for a config and a dataset; its measurements have 0 steps, since none was made.

    Reading the scans, minutes at the start, and main memory are not in it.

    Raises:
        UserError: what training would refuse.
        TrialTooLargeError: a step takes more memory than the GPU has.
    """
    dataset, facts = train.load_and_split(config, data, fold)
    samples = {sample.name: sample for sample in dataset.samples}
    scans = _without_trial(select_scans(config, samples, facts))
    precision = gpu.precision if config.train.precision == "auto" else config.train.precision
    given = StepInput(len(facts.channels), len(facts.classes), facts.exclusive, TYPES[precision])
    step = forecast_step(config, given)
    memory = gpu_bytes(step, config)
    if memory > gpu.memory:
        raise TrialTooLargeError
    seconds = gpu_seconds(step, config, gpu, half=precision != "fp32")
    names = (*facts.unseen_cases, *facts.later_days)
    validated = [network_shape(dataset, samples[name], config) for name in names]
    found = TrialMeasurements(
        device=f"{gpu}, {precision}",
        parameters=step.parameters,
        shape=network_shape(dataset, samples[scans.scan], config),
        steps=0,
        step_seconds=seconds,
        processor_seconds=0.0,
        loading_seconds=0.0,
        validation_seconds=sum(_validation_seconds(shape, config, seconds) for shape in validated),
        saving_seconds=SAVING_SECONDS,
        memory=0,
        gpu_memory=memory,
        gpu_room=int(SHARE * (gpu.memory - CONTEXT)),
    )
    return ResourceEstimate(config, scans, found, process_tree_peak=0)


def gpu_bytes(step: StepForecast, config: Config) -> int:
    """Bytes of a GPU's memory at the peak, packed scans left out."""
    patch = math.prod(config.train.patch)
    ahead = step.batch + CUT_BYTES * patch
    return CONTEXT + int(RESERVED * (step.peak + step.workspace + ahead))


def gpu_seconds(step: StepForecast, config: Config, gpu: Gpu, *, half: bool) -> float:
    """Seconds of a step: of the network and the loss, the update of the weights, and the next patches."""
    updated = Operation(0, 2 * step.kept + 4 * step.weights)  # gradient clipped and used, the rest renewed
    cut = Operation(0, CUT_MOVED * config.train.batch * math.prod(config.train.patch))
    return gpu.step_seconds((*step.operations, updated, cut), half=half)


def network_shape(dataset: Dataset, sample: Sample, config: Config) -> tuple[int, ...]:
    """The voxels (X, Y, Z) of a scan on the network's grid, by the header of its image."""
    header = read_header(dataset.folder / sample.images[0])
    x, y, z = header.shape[:3]
    return NetworkGrid((x, y, z), header.affine, config.data.spacing_mm).shape


def _validation_seconds(shape: tuple[int, ...], config: Config, step_seconds: float) -> float:
    """Seconds of a scan's windows over all of it, each as long as a patch's forward pass, and of the rest."""
    settings, windows = config.inference, config.inference.views
    for voxels, window in zip(shape, config.window, strict=True):
        windows *= len(AxisTiling.for_range(slice(0, voxels), voxels, window, settings.overlap).starts)
    larger = math.prod(config.window) / math.prod(config.train.patch)
    return windows * larger * FORWARD * step_seconds / config.train.batch + SCAN_SECONDS


def _without_trial(scans: TrialScans) -> TrialScans:
    """The scans where none were tried: those packed come on top, and nothing is to be scaled up."""
    packed = TrialAndTotal(0, scans.packed.all)
    return replace(
        scans,
        tried=scans.facts,
        voxels=TrialAndTotal(scans.voxels.all, scans.voxels.all),
        validated=TrialAndTotal(scans.validated.all, scans.validated.all),
        cached=packed,
        packed=packed,
    )
