"""The parts of benchmarks/gpu.py: each yields rows of what it finds, and raises where that is wrong."""

import csv
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from gpu_steps import Way, time_way

from volseg import __version__
from volseg.arguments import InferArguments, PrepareArguments, TrainArguments
from volseg.config import config as configs
from volseg.config.config import Config
from volseg.data.dataset import Dataset
from volseg.data.phantom import write_phantom
from volseg.inference.infer import infer
from volseg.model.engines.torch_device import Device, fastest_layout
from volseg.planning.trial_training import synchronize
from volseg.preparation.prepare import prepare
from volseg.runs.run import Run
from volseg.system.hardware import available_cores
from volseg.training.augmentation.pipeline import build_augmentation
from volseg.training.loading.load_scan import LoadScan
from volseg.training.loading.loader import TrainingPatches, load_batches
from volseg.training.loading.scan_cache import ScanCache
from volseg.training.loop import train_until_done
from volseg.training.resume import open_to_resume
from volseg.training.train import build_training, load_and_split, train

Row = dict[str, Any]
NOT_FULL_SIZE = {"demo", "hippocampus"}
SMALL = {
    "unet": ("{name: unet, channels: [8, 16]}", (16, 16, 16)),
    "dynunet": ("{name: dynunet, filters: [8, 8, 8]}", (16, 16, 16)),
    "segresnet": ("{name: segresnet, filters: 8, blocks_down: [1, 1]}", (16, 16, 16)),
    "resenc": ("{name: resenc, filters: [4, 8, 8], blocks: [1, 1, 1]}", (16, 16, 16)),
    "mednext": ("{name: mednext, filters: 4}", (32, 16, 16)),
    "unet25d": ("{name: unet25d, decoder: [8, 8, 8, 8, 8]}", (64, 32, 6)),
    "swinunetr": ("{name: swinunetr, feature_size: 12}", (64, 32, 32)),
}
"""Networks of a tiny run and their patch in voxels; others are taken as they are."""
UNKNOWN_PATCH = (64, 64, 64)
LAYOUTS = {"channels-last": torch.channels_last_3d, "contiguous": torch.contiguous_format}
CPU = torch.device("cpu")


class SkippedError(Exception):
    """A part that can't be run here, and why."""


@dataclass(frozen=True)
class Setting:
    """Where the parts work, on which device, and whether with small scans and networks."""

    folder: Path
    device: str
    tiny: bool

    @property
    def prepared(self) -> Path:
        """The prepared phantom."""
        return self.folder / "prepared"

    @property
    def torch_device(self) -> torch.device:
        """The device for torch."""
        return Device.choose("auto", self.device).device

    def config(self, name: str, *overrides: str) -> Config:
        """A config, with a small network and patch in a tiny run."""
        path = Path("configs") / f"{name}.yaml"
        config = configs.load(path, overrides)
        if not self.tiny:
            return config
        network, patch = SMALL.get(config.network.name, (config.network.name, UNKNOWN_PATCH))
        sizes = [f"train.patch={[*patch]}", "train.batch=1", "data.spacing_mm=null"]
        windows = ["inference.window=[64,64,64]", "inference.overlap=0"]
        return configs.load(path, [*overrides, *sizes, *windows, f"network={network}"])

    def run(self, name: str, **options: Any) -> TrainArguments:
        """The options of a run on the phantom."""
        folder = self.folder / "runs" / name
        return TrainArguments(data=self.prepared, run=folder, device=self.device, **options)


def full_size_configs() -> list[str]:
    """The names of the configs for full-size scans."""
    return sorted(path.stem for path in Path("configs").glob("*.yaml") if path.stem not in NOT_FULL_SIZE)


def machine(setting: Setting) -> Iterator[Row]:
    """What this is run on."""
    device = Device.choose("auto", setting.device)
    yield {
        "volseg": __version__,
        "torch": torch.__version__,
        "cores": available_cores(),
        "device": str(device),
    }
    if device.is_cuda:
        free, total = torch.cuda.mem_get_info(device.device)
        versions = {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
        yield {**versions, "GB": round(total / 1e9, 1), "free GB": round(free / 1e9, 1)}


def draw_data(setting: Setting) -> Iterator[Row]:
    """Draw a phantom and prepare it."""
    began, raw = time.monotonic(), setting.folder / "raw"
    workers = 1 if setting.tiny else None
    drawn = write_phantom(raw, cases=6, days=1, full_size=not setting.tiny, workers=workers)
    yield {"scans": drawn.scans, "drawn in s": _since(began)}
    began = time.monotonic()
    prepare(raw, options=PrepareArguments(out=setting.prepared))
    yield {"prepared in s": _since(began)}


def train_config(setting: Setting, name: str) -> Iterator[Row]:
    """Train by a config for some seconds, with validation; speed, waiting and memory of its last epoch."""
    steps = 2 if setting.tiny else 400
    overrides = [f"train.steps={steps}", f"train.epoch_steps={steps // 2}"]
    if setting.tiny and name != "unet":  # validation takes longer than all else
        overrides.append("data.split=none")
    config = setting.config(name, *overrides)
    result = train(config, setting.run(name, max_seconds=None if setting.tiny else 25.0))
    rows = _metrics(result.run)
    kept = ("steps_per_second", "waiting", "validating", "loss", "score")
    yield {"steps": result.steps, **{key: float(rows[-1][key]) for key in kept if rows[-1].get(key)}}
    device = setting.torch_device
    if device.type == "cuda":
        peaks = {"reserved": torch.cuda.max_memory_reserved, "allocated": torch.cuda.max_memory_allocated}
        yield {f"{name} GB": round(peak(device) / 1e9, 2) for name, peak in peaks.items()}


def time_steps(setting: Setting, name: str) -> Iterator[Row]:
    """Milliseconds of a network's steps by memory layout and deterministic algorithms, and compiled."""
    text, patch = SMALL.get(name, (name, UNKNOWN_PATCH)) if setting.tiny else (name, (128, 128, 64))
    network = configs.load(Path("configs/demo.yaml"), [f"network={text}", f"train.patch={[*patch]}"]).network
    shape, steps = ((1, *patch), 1) if setting.tiny else ((2, *patch), 10)
    device = Device.choose("auto", setting.device)
    fastest = fastest_layout(device.device.type, network.build(1, 3))
    layout = next(key for key, value in LAYOUTS.items() if value == fastest)
    if setting.tiny and name != "unet":  # the other ways are alike, and tracing takes a minute on a CPU
        way = Way(replace(device, layout=fastest))
        yield {"layout": layout, **time_way(network, shape, way, steps=steps)}
        return
    for place, deterministic in product(LAYOUTS, (False, True)):
        way = Way(replace(device, layout=LAYOUTS[place]), deterministic=deterministic)
        took = time_way(network, shape, way, steps=steps)
        yield {"layout": place, "deterministic": deterministic, **took}
    compiler = "eager" if setting.tiny else "inductor"  # the real one takes minutes on a CPU
    # torch can't compile swinunetr beside what keeps small convolutions exact on a CPU
    dtype = torch.float32 if device.device.type == "cpu" else device.dtype
    way = Way(replace(device, layout=fastest, dtype=dtype), compiler=compiler)
    yield {"layout": layout, "compiler": compiler, **time_way(network, shape, way, steps=steps)}


def resume_in_other_precision(setting: Setting) -> Iterator[Row]:
    """One run in fp16, then in bf16, then in fp16 again: nothing is refused, and the loss falls."""
    steps = 10 if setting.tiny else 40
    for leg, precision in enumerate(("fp16", "bf16", "fp16"), 1):
        overrides = (f"train.steps={3 * steps}", f"train.epoch_steps={steps}", f"train.precision={precision}")
        config = setting.config("unet", *overrides, "data.split=none")
        rows = _train_leg(config, setting.run("precision", resume=leg > 1), until=leg * steps)
        yield {"precision": precision, "steps": rows[-1]["step"], "loss": rows[-1]["loss"]}
    losses = [row["loss"] for row in rows]
    if not losses[-1] < losses[0]:
        message = f"the loss does not fall: {losses}"
        raise AssertionError(message)


def _train_leg(config: Config, options: TrainArguments, *, until: int) -> list[Row]:
    """The rows of metrics.csv of a run that is begun or goes on, as by `volseg train`, and ends at a step."""
    dataset, facts = load_and_split(config, options.data, 0)
    run = open_to_resume(config, options, facts) if options.resume else Run.create(options.run, config, facts)
    training = build_training(run, dataset, options)

    def on_step(step: int, _loss: float) -> None:
        if step >= until:
            training.clock.end()

    train_until_done(replace(training, on_step=on_step))
    return training.state.rows


def compare_patches(setting: Setting) -> Iterator[Row]:
    """The patches of the device and of the CPU: the same draws and masks, images within 1e-5."""
    config, dataset = setting.config("unet"), Dataset.load(setting.prepared)
    samples = [sample for sample in dataset.samples if sample.labels]
    vary = build_augmentation(config.augment, patch=config.train.patch, foreground=config.train.foreground)

    def batches(device: torch.device, count: int) -> Iterator[Row]:
        patches = TrainingPatches(
            ScanCache(LoadScan(dataset, config.data), samples, device=device), vary, seed=0
        )
        return load_batches(patches, batch=2, steps=range(count), threads=2, device=device)

    device, count, furthest = setting.torch_device, 4 if setting.tiny else 16, 0.0
    for here, there in zip(batches(device, count), batches(CPU, count), strict=True):
        if not (torch.equal(here["position"], there["position"]) and here["name"] == there["name"]):
            raise AssertionError("other positions or scans were drawn")
        if not torch.equal(here["label"].cpu(), there["label"]):
            message = f"masks differ at {here['name']}, positions {here['position'].tolist()}"
            raise AssertionError(message)
        furthest = max(furthest, float((here["image"].cpu() - there["image"]).abs().max()))
    yield {"patches": 2 * count, "largest difference": furthest}
    if furthest > 1e-5:
        raise AssertionError("images differ by more than 1e-5")
    began = time.monotonic()
    for _ in batches(device, 10 * count):
        pass
    synchronize(device)
    yield {"ms a batch of 2, start included": round(1000 * (time.monotonic() - began) / (10 * count), 1)}


def compare_inference(setting: Setting) -> Iterator[Row]:
    """A scan predicted on the device and on the CPU: seconds by step, and the Dice of both masks."""
    run = setting.folder / "runs" / "unet"  # of the part before
    *_, scan = (sample.name for sample in Dataset.load(setting.prepared).samples if sample.labels)
    for number, place in enumerate((setting.device, "cpu", setting.device)):  # the first has to start
        out = setting.folder / f"predicted-{number}"
        options = InferArguments(
            run=(str(run),), data=setting.prepared, case=(scan,), engine="torch", device=place, out=out
        )
        (record,) = infer(options).records
        yield {"device": place, **{step: round(took, 3) for step, took in record.seconds.items()}}
    for name in record.classes:
        masks = [setting.folder / f"predicted-{number}" / scan / f"{name}.nii.gz" for number in (1, 2)]
        dice = _dice(*(np.asarray(nibabel.load(mask).dataobj) > 0 for mask in masks))
        yield {"class": name, "Dice": dice}
        if dice < 0.95:
            message = f"{name}: the device's mask is not the CPU's, Dice {dice}"
            raise AssertionError(message)


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    """Dice of two masks; 1 where both are empty."""
    both = int(one.sum() + other.sum())
    return round(2 * int((one & other).sum()) / both, 5) if both else 1.0


def provoke_messages(setting: Setting) -> Iterator[Row]:
    """Too large a batch, and two ranks on one GPU, each end with one line and exit code 1."""
    if not setting.device.startswith("cuda"):
        raise SkippedError("needs a GPU that runs out of memory, and one for two ranks")
    gigabytes = torch.cuda.mem_get_info(setting.torch_device)[1] / 1e9
    batch = 64 * math.ceil(gigabytes / 16)  # 64 on a T4
    train_unet = ["-m", "volseg", "train", "configs/unet.yaml", "--data", str(setting.prepared)]
    large = [*train_unet, "--run", str(setting.folder / "large"), f"train.batch={batch}", "data.split=none"]
    yield {"batch": batch, "message": _refusal(large, "out of memory")}
    ranks = ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
    two = [*ranks, *train_unet, "--run", str(setting.folder / "two"), "data.split=none"]
    yield {"ranks": 2, "message": _refusal(two, "would share a GPU")}


def _refusal(words: list[str], expected: str) -> str:
    """The line with which a command ends, on the first GPU only.

    Raises:
        AssertionError: it doesn't fail, or without a line of volseg that has the expected words.
    """
    environment = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0],
    }
    ended = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, check=False, env=environment
    )
    told = [line for line in ended.stderr.splitlines() if line.startswith("volseg: ")]
    if ended.returncode != 1 or len(told) != 1 or expected not in told[0]:
        end = "; ".join(ended.stderr.splitlines()[-4:])
        message = f"code {ended.returncode}, {len(told)} lines of volseg, none with {expected!r}: {end}"
        raise AssertionError(message)
    return told[0]


def _metrics(run: Path) -> list[dict[str, str]]:
    return [*csv.DictReader((run / "metrics.csv").read_text().splitlines())]


def _since(began: float) -> float:
    return round(time.monotonic() - began, 1)
