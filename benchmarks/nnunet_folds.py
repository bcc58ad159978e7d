"""nnU-Net on the folds of `abdomen.py`, in an environment of its own and in a given time.

nnU-Net plans, preprocesses, trains and predicts by its own commands. Its trainer is subclassed, in a file
that is written for it, for one thing: a training of 1,000 epochs of 250 steps is fitted to the minutes. An
epoch lasts a fortieth of the time (at least a step and a step of validation, so a slow machine may end
later by as much), and the polynomial falls with the time that is over. All else is as in nnU-Net: SGD with
Nesterov momentum, deep supervision, its augmentation, a validation of a fifth as many steps, the last
weights, and mirrored views at prediction. On a CPU nnU-Net computes in float32.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from volseg.data.dataset import Dataset
from volseg.data.volume import Volume
from volseg.data.volume_files import write_volume
from volseg.system.json_files import write_json

ROOT = Path(__file__).resolve().parents[1]
NUMBER, TRAINER = 501, "nnUNetTrainerMinutes"
TRAINER_CODE = '''
import json, os
from time import time

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

EPOCHS, POWER = 40, 0.9


class KeepRate:
    def step(self, epoch):
        """The rate is set at each step instead."""


class nnUNetTrainerMinutes(nnUNetTrainer):
    """nnU-Net's training, fitted to NNUNET_MINUTES."""

    def share(self):
        return min(1.0, (time() - self.begun) / self.seconds)

    def train_step(self, batch):
        for group in self.optimizer.param_groups:
            group["lr"] = self.initial_lr * (1 - min(self.share(), 0.9999)) ** POWER
        return super().train_step(batch)

    def run_training(self):
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        self.seconds = 60 * float(os.environ["NNUNET_MINUTES"])
        self.on_train_start()
        self.lr_scheduler = KeepRate()
        self.begun, steps = time(), 0
        while self.share() < 1:
            self.on_epoch_start()
            self.on_train_epoch_start()
            losses, start = [], time()
            while not losses or (self.share() < 1 and time() - start < self.seconds / EPOCHS):
                losses.append(self.train_step(next(self.dataloader_train)))
            steps += len(losses)
            self.on_train_epoch_end(losses)
            with torch.no_grad():
                self.on_validation_epoch_start()
                batches = (next(self.dataloader_val) for _ in range(max(1, len(losses) // 5)))
                self.on_validation_epoch_end([self.validation_step(batch) for batch in batches])
            self.on_epoch_end()
        spent = {"seconds": time() - self.begun, "steps": steps, "epochs": self.current_epoch}
        with open(os.environ["NNUNET_SPENT"], "w") as file:
            json.dump(spent, file)
        self.on_train_end()
'''


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of nnU-Net's rows."""
    parser.add_argument("--nnunet", action="store_true", help="train nnU-Net instead of volseg")
    parser.add_argument("--configuration", choices=("3d_fullres", "2d"), default="3d_fullres")
    parser.add_argument(
        "--planned-gb", type=float, default=8.0,
        help="the GPU memory that nnU-Net plans for, 8 by default; less makes its patches smaller",
    )  # fmt: skip
    parser.add_argument(
        "--environment", type=Path, default=Path.home() / ".cache/volseg/nnunet",
        help="the virtual environment for nnU-Net, made from PyPI where it is missing",
    )  # fmt: skip


@dataclass(frozen=True)
class NnUnet:
    """nnU-Net's environment and its files of a dataset, planned and preprocessed."""

    python: Path
    folder: Path
    configuration: str
    threads: int
    version: str
    plan_seconds: float

    @classmethod
    def prepare(
        cls, given: argparse.Namespace, dataset: Dataset, out: Path, folds: Sequence[Sequence[str]]
    ) -> "NnUnet":
        """Install nnU-Net, write the dataset in its layout and have it planned, each where it is not done."""
        python = install(given.environment)
        told = "import importlib.metadata as m; print('nnunetv2', m.version('nnunetv2'))"
        version = subprocess.run([python, "-c", told], check=True, capture_output=True, text=True).stdout
        folder = out / "nnunet" / f"{given.planned_gb:g}GB"
        tool = cls(python, folder, given.configuration, given.threads, version.strip(), 0.0)
        written = folder / "seconds.txt"
        if not written.is_file():
            shutil.rmtree(folder, ignore_errors=True)
            write_raw(dataset, folder / "raw" / f"Dataset{NUMBER}_folds")
            start = time.monotonic()
            words = ["-d", NUMBER, "-c", "3d_fullres", "2d", "-np", 1, 1, "-npfp", 1]
            words += ["-gpu_memory_target", given.planned_gb, "--verify_dataset_integrity"]
            tool.call("nnUNetv2_plan_and_preprocess", *words, log=folder / "plan.txt")
            written.write_text(f"{time.monotonic() - start:.1f}\n")
        write_folds(folder / "preprocessed" / f"Dataset{NUMBER}_folds" / "splits_final.json", folds)
        trainers = next(given.environment.glob("lib/python*/site-packages/nnunetv2/training/nnUNetTrainer"))
        (trainers / f"{TRAINER}.py").write_text(
            TRAINER_CODE
        )  # beside nnU-Net's own, so found before variants
        spent = float(written.read_text())
        return cls(python, folder, given.configuration, given.threads, version.strip(), spent)

    def train_fold(self, fold: int, minutes: float, out: Path) -> tuple[Path, tuple[float, float]]:
        """Train a fold anew, and have nnU-Net predict its scans; their folder, seconds of both."""
        results, spent = out / "nnunet", out / "training.json"
        shutil.rmtree(results, ignore_errors=True)
        out.mkdir(parents=True, exist_ok=True)
        own = {"nnUNet_results": results, "NNUNET_MINUTES": minutes, "NNUNET_SPENT": spent}
        words = [NUMBER, self.configuration, fold, "-tr", TRAINER, "-device", "cpu"]
        whole = self.call("nnUNetv2_train", *words, log=out / "train.txt", own=own)
        found = next(results.glob(f"*/{TRAINER}__*/fold_{fold}/validation"))
        masks = out / "masks"
        shutil.rmtree(masks, ignore_errors=True)
        masks.mkdir()
        for file in found.glob("*.nii.gz"):
            shutil.copyfile(file, masks / file.name)
        shutil.copyfile(
            self.folder / "raw" / f"Dataset{NUMBER}_folds" / "dataset.json", masks / "dataset.json"
        )
        seconds = read_seconds(spent)
        return masks, (seconds, whole - seconds)

    def call(self, name: str, *words: object, log: Path, own: Mapping[str, object] | None = None) -> float:
        """Run a command of nnU-Net, its output added to a file; the seconds that it took."""
        folders = {f"nnUNet_{part}": self.folder / part for part in ("raw", "preprocessed", "results")}
        threads = {"OMP_NUM_THREADS": self.threads, "nnUNet_n_proc_DA": 1, "nnUNet_def_n_proc": 1}
        given = {**folders, **threads, **(own or {})}
        environment = {**os.environ, **{key: str(value) for key, value in given.items()}}
        environment.pop("PYTHONPATH", None)
        log.parent.mkdir(parents=True, exist_ok=True)
        start = time.monotonic()
        with log.open("a") as file:
            command = [str(self.python.parent / name), *map(str, words)]
            done = subprocess.run(command, stdout=file, stderr=file, env=environment, check=False)
        if done.returncode:
            raise SystemExit("\n".join([f"{' '.join(command)} failed:", *log.read_text().splitlines()[-15:]]))
        return time.monotonic() - start


def read_seconds(file: Path) -> float:
    """The seconds of a training, as its trainer has written them."""
    return float(json.loads(file.read_text())["seconds"])


def install(folder: Path) -> Path:
    """The interpreter of an environment with nnU-Net, made where it is missing; torch is that of volseg."""
    python = folder / "bin" / "python"
    done = folder / "installed"
    if not done.is_file():
        print(f"{folder}: installing nnU-Net from PyPI", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        words = ["install", "-q", "-c", str(ROOT / "constraints.txt"), "torch", "nnunetv2"]
        subprocess.run([str(python), "-m", "pip", *words], check=True)
        done.write_text("")
    return python


def write_raw(dataset: Dataset, folder: Path) -> None:
    """Write a dataset in nnU-Net's layout: channels as files, classes as one map of labels.

    Classes that overlap would need nnU-Net's regions, which are not written.
    """
    if not dataset.facts.exclusive:
        raise SystemExit(f"{dataset.folder}: its classes may overlap; nnU-Net is run on exclusive ones only")
    samples = [one for one in dataset.samples if one.labels and one.part == "train" and not one.excluded]
    for sample in samples:
        for number, image in enumerate(sample.images):
            target = folder / "imagesTr" / f"{sample.name}_{number:04}.nii.gz"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(dataset.folder / image, target)
        labels = np.zeros(sample.shape, np.uint8)
        for value, name in enumerate(dataset.classes, 1):
            labels[dataset.label(sample, name)] = value
        write_volume(
            Volume(labels, dataset.image(sample).affine), folder / "labelsTr" / f"{sample.name}.nii.gz"
        )
    write_json(folder / "dataset.json", dict(listing(dataset, len(samples))))


def listing(dataset: Dataset, scans: int) -> Iterator[tuple[str, object]]:
    """nnU-Net's dataset.json; a channel called CT is scaled by its rule for Hounsfield units."""
    names = ["CT" if "ct" in name.lower().split() else name for name in dataset.facts.channels]
    yield "channel_names", {str(number): name for number, name in enumerate(names)}
    yield "labels", {"background": 0, **{name: value for value, name in enumerate(dataset.classes, 1)}}
    yield "numTraining", scans
    yield "file_ending", ".nii.gz"


def write_folds(file: Path, folds: Sequence[Sequence[str]]) -> None:
    """Have nnU-Net take these folds: the scans that each leaves out."""
    every = [name for names in folds for name in names]
    splits = [{"train": [n for n in every if n not in names], "val": [*names]} for names in folds]
    write_json(file, splits)
