"""`volseg demo`: a phantom dataset and every command on it, from slices to a submission."""

import logging
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from volseg.arguments import InferArguments, PrepareArguments, TrainArguments
from volseg.config import config
from volseg.data import phantom, volume_files
from volseg.data.dataset import FILE, Dataset
from volseg.errors import UserError
from volseg.evaluation.evaluate import evaluate
from volseg.evaluation.tables import metric_tables
from volseg.inference.infer import infer
from volseg.inference.submit import submit
from volseg.model.engines.device_selection import usable_device
from volseg.preparation.prepare import prepare
from volseg.report.report import report
from volseg.runs.run_files import LAST
from volseg.system.files import write_text
from volseg.training.train import train
from volseg.visualization import overlay

if TYPE_CHECKING:
    from rich.console import Group

log = logging.getLogger(__name__)
CASE = "case123"
MARK = ".demo-seed"


@dataclass(frozen=True)
class DemoResult:
    """The score table, the descriptions of the written paths, and the mean Dice."""

    table: "Group"
    paths: dict[Path, str]
    mean_dice: float


def demo(out: Path, *, seed: int = 0, device: str | None = None) -> DemoResult:
    """Run all commands in the folder `out`; finished steps of an earlier demo there are not repeated.

    `seed` draws the patients and the first weights; `device` is what networks run on, by name.

    Raises:
        UserError: `out` holds something else, or the disk is full.
    """
    usable_device(device)  # a wrong one is told before anything is written
    _claim_folder(out, seed)
    raw, prepared = out / "raw", out / "prepared"
    run, predictions, scores = out / "runs" / "demo", out / "predictions", out / "scores"
    _write_phantom(raw, seed)
    if not (prepared / FILE).is_file():
        prepare(raw, options=PrepareArguments(out=prepared))
    _train_run(prepared, run, seed, device)
    request = InferArguments(run=(str(run),), data=prepared, out=predictions, device=device)
    infer(replace(request, case=(CASE,)))
    infer(replace(request, split="test"))
    result = evaluate(predictions, prepared, out=scores)
    submit(predictions, prepared, sample=raw / "sample_submission.csv", out=out / "submission.csv")
    picture = out / "overlay.png"
    overlay.write(picture, _overlay_image(prepared, predictions))
    page = report(str(predictions), data=prepared, out=out / "report.html", scores=scores).path
    paths = {
        raw: "the phantom's slices and train.csv",
        prepared: "volumes and dataset.json",
        run: "weights, config, log, TensorBoard",
        predictions: "masks and run-length codes of case123 and the test scan",
        scores: "scores.csv and summary.json",
        out / "submission.csv": "the competition's file",
        picture: "truth above, prediction below",
        page: "scores, curves, and the scans to scroll through: open it in a browser",
    }
    return DemoResult(metric_tables(result), paths, result.headline.foreground_mean["Dice"])


def _claim_folder(out: Path, seed: int) -> None:
    """Mark `out` as the folder of the demo with this seed; refuse any other folder with files."""
    mark = out / MARK
    if mark.is_file():
        if mark.read_text().strip() != str(seed):
            raise UserError(f"{out}: holds the demo of seed {mark.read_text().strip()}; name another")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: exists and is not a demo's; name a new folder with --out")
    write_text(mark, f"{seed}\n")


def _write_phantom(raw: Path, seed: int) -> None:
    """Write the phantom dataset, unless it is complete (train.csv is written last)."""
    if (raw / "train.csv").is_file():
        return
    shutil.rmtree(raw, ignore_errors=True)
    facts = phantom.write_phantom(raw, seed=seed)
    log.info("phantom: %d scans, %d slices in %s", facts.scans, facts.slices, raw)


def _train_run(prepared: Path, run: Path, seed: int, device: str | None) -> None:
    settings = config.load(Path("configs/demo.yaml"), [f"train.seed={seed}"])
    resume = (run / LAST).is_file()
    if not resume:
        shutil.rmtree(run, ignore_errors=True)
    train(settings, TrainArguments(data=prepared, run=run, resume=resume, device=device))


def _overlay_image(prepared: Path, predictions: Path) -> overlay.Picture:
    dataset = Dataset.load(prepared)
    sample = dataset.select_samples(CASE)[-1]
    files = [predictions / sample.name / f"{name}.nii.gz" for name in dataset.classes]
    masks = np.stack([volume_files.read(file).voxels.astype(bool) for file in files])
    image, labels = dataset.image(sample), dataset.labels(sample)
    return overlay.draw_overlay(image, masks, labels=labels, classes=dataset.classes)
