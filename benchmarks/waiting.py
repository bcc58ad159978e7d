"""Does training wait for data? Steps a second with volseg's loader, and with one batch held in memory.

    .venv/bin/python benchmarks/waiting.py PREPARED [--patch X Y Z] [--rounds N] [--steps N]

The same network, loss and optimiser in one process, the ways in turn: the constant batch, then the loader
with 0 and with 1 worker process. A round is a few steps; its first step (the start of a worker) is not
counted. 1.00 is a loop that never waits.
"""

import argparse
import statistics
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from volseg.data.batches import Patches, loader
from volseg.data.cache import Scans
from volseg.data.dataset import Dataset
from volseg.data.settings import Augment, Data
from volseg.data.transforms import augmentation
from volseg.model.device import Device
from volseg.model.losses import DiceCE
from volseg.model.networks import UNet
from volseg.model.optimizers import AdamW

BATCH = 4


class Training:
    """A U-Net of 16 to 128 channels."""

    def __init__(self, dataset: Dataset) -> None:
        self.exclusive = dataset.facts.exclusive
        self.device = Device.best("auto")
        inputs, outputs = len(dataset.facts.channels), len(dataset.classes)
        self.network = self.device.place(UNet(channels=(16, 32, 64, 128)).build(inputs, outputs))
        self.optimizer = AdamW().build(self.network.parameters())

    def step(self, batch: dict[str, Any]) -> None:
        """Forward, backward, update."""
        images = self.device.send(batch["image"])
        labels = batch["label"].to(self.device.device)
        with self.device.autocast():
            logits = self.network(images)
        self.optimizer.zero_grad()
        DiceCE()(logits, labels, exclusive=self.exclusive).backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 12.0)
        self.optimizer.step()

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
    parser.add_argument("--patch", nargs=3, type=int, default=(40, 56, 40))
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=20)
    given = parser.parse_args()
    dataset = Dataset.load(given.prepared)
    samples = [sample for sample in dataset.samples if sample.labels]
    vary = augmentation(Augment(flip=("x", "y")), patch=given.patch, foreground=0.67)
    row = Patches(Scans(dataset, samples, Data(cache="memory")), vary, seed=0)
    training = Training(dataset)
    constant = next(iter(loader(row, batch=BATCH, steps=range(1), workers=0)))
    training.seconds([constant] * 4)
    took: dict[str, list[float]] = {"constant": [], "0 workers": [], "1 worker": []}
    for number in range(given.rounds):
        steps = range(number * given.steps, (number + 1) * given.steps)
        took["constant"].append(training.seconds([constant] * given.steps))
        for workers, name in enumerate(("0 workers", "1 worker")):
            batches = loader(row, batch=BATCH, steps=steps, workers=workers)
            took[name].append(training.seconds(batches))
    for name, times in took.items():
        ratio = statistics.median(c / t for c, t in zip(took["constant"], times, strict=True))
        middle = 1000 * statistics.median(times)
        print(f"{name:10} {middle:6.0f} ms a step, {ratio:.2f} of the constant batch's steps/s")


if __name__ == "__main__":
    main()
