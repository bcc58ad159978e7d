"""Does training wait for data? Steps a second with volseg's loader, and with one batch held in memory.

    .venv/bin/python benchmarks/waiting.py PREPARED [CONFIG] [--rounds N] [--steps N]

The step is that of training, by the config; the ways take turns: the constant batch, then the loader with 0
and with 1 thread that prepares patches. A round is a few steps; its first step is not counted. 1.00
is a loop that never waits.
"""

import argparse
import statistics
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from volseg.config import config as configs
from volseg.config.config import Config
from volseg.data.dataset import Dataset
from volseg.model.engines.torch_device import Device
from volseg.training.augmentation.pipeline import build_augmentation
from volseg.training.loading.load_scan import LoadScan
from volseg.training.loading.loader import TrainingPatches, load_batches
from volseg.training.loading.scan_cache import ScanCache
from volseg.training.loss_scale import LossScale
from volseg.training.moving_average import MovingAverage
from volseg.training.state import TrainingState
from volseg.training.step import Stepper


class Training:
    """What a config trains, and how."""

    def __init__(self, dataset: Dataset, config: Config) -> None:
        device = Device.choose(config.train.precision)
        inputs, outputs = len(dataset.facts.channels), len(dataset.classes)
        network = device.place_network(config.network.build(inputs, outputs))
        optimizer = config.optimizer.build(network.parameters())
        scale, average = LossScale(device.device, enabled=False), MovingAverage(network, config.train.ema)
        self.state = TrainingState(network, optimizer, scale, average)
        exclusive = dataset.facts.exclusive
        self.stepper = Stepper(config.loss, exclusive, device, clip=config.train.clip)

    def step(self, batch: dict[str, Any]) -> None:
        """Forward, backward, update."""
        self.stepper.step(self.state, batch, 1e-3)

    def seconds(self, batches: Iterable[dict[str, Any]]) -> float:
        """Of a step, the first left out."""
        rest = iter(batches)
        self.step(next(rest))
        begun, steps = time.perf_counter(), 0
        for batch in rest:
            self.step(batch)
            steps += 1
        return (time.perf_counter() - begun) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prepared", type=Path)
    parser.add_argument("config", type=Path, nargs="?", default=Path("configs/hippocampus.yaml"))
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=20)
    given = parser.parse_args()
    dataset = Dataset.load(given.prepared)
    samples = [sample for sample in dataset.samples if sample.labels]
    config = configs.load(given.config)
    course = config.train
    vary = build_augmentation(config.augment, patch=course.patch, foreground=course.foreground)
    row = TrainingPatches(ScanCache(LoadScan(dataset, config.data), samples), vary, seed=0)
    training = Training(dataset, config)
    device = training.stepper.device.device
    constant = next(iter(load_batches(row, batch=course.batch, steps=range(1), threads=0, device=device)))
    training.seconds([constant] * 4)
    took: dict[str, list[float]] = {"constant": [], "0 threads": [], "1 thread": []}
    for number in range(given.rounds):
        steps = range(number * given.steps, (number + 1) * given.steps)
        took["constant"].append(training.seconds([constant] * given.steps))
        for threads, name in enumerate(("0 threads", "1 thread")):
            batches = load_batches(row, batch=course.batch, steps=steps, threads=threads, device=device)
            took[name].append(training.seconds(batches))
    for name, times in took.items():
        ratio = statistics.median(c / t for c, t in zip(took["constant"], times, strict=True))
        middle = 1000 * statistics.median(times)
        print(f"{name:10} {middle:6.0f} ms a step, {ratio:.2f} of the constant batch's steps/s")


if __name__ == "__main__":
    main()
