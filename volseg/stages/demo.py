"""`volseg demo`: a phantom dataset and every stage on it, from slices to a submission."""

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from volseg import config
from volseg.data import overlay, phantom, volume
from volseg.data.dataset import Dataset
from volseg.runs import LAST
from volseg.stages.evaluate import evaluate, table
from volseg.stages.infer import Options as InferOptions
from volseg.stages.infer import infer
from volseg.stages.prepare import PrepareOptions, prepare
from volseg.stages.submit import submit
from volseg.stages.train import Options as TrainOptions
from volseg.stages.train import train

if TYPE_CHECKING:
    from rich.table import Table

log = logging.getLogger(__name__)
CASE = "case123"


@dataclass(frozen=True)
class Demo:
    """The score table and what was written where."""

    table: "Table"
    paths: dict[Path, str]
    mean_dice: float


def demo(out: Path, *, seed: int = 0) -> Demo:
    """Run all stages below `out`; what an earlier demo finished there is not done again.

    `seed` draws the patients and the first weights.

    Raises:
        UserError: `out` holds something else, or the disk is full.
    """
    raw, prepared = out / "raw", out / "prepared"
    run, predictions, scores = out / "runs" / "demo", out / "predictions", out / "scores"
    _phantom(raw, seed)
    if not (prepared / "dataset.json").is_file():
        prepare(raw, options=PrepareOptions(out=prepared))
    _train(prepared, run, seed)
    infer(InferOptions(run=str(run), data=prepared, out=predictions, case=(CASE,)))
    scored = evaluate(predictions, prepared, out=scores)
    submit(predictions, prepared, sample=None, out=out / "submission.csv")
    picture = out / "overlay.png"
    overlay.write(picture, _picture(prepared, predictions))
    paths = {
        raw: "the phantom's slices and train.csv",
        prepared: "volumes and dataset.json",
        run: "weights, config, log, TensorBoard",
        predictions: "masks and run-length codes of case123",
        scores: "scores.csv and summary.json",
        out / "submission.csv": "the competition's file",
        picture: "truth above, prediction below",
    }
    return Demo(table(scored), paths, 0.0)


def _phantom(raw: Path, seed: int) -> None:
    """The dataset; one that was left unfinished (train.csv comes last) is made anew."""
    if (raw / "train.csv").is_file():
        return
    shutil.rmtree(raw, ignore_errors=True)
    facts = phantom.write(raw, seed=seed)
    log.info("phantom: %d scans, %d slices in %s", facts.scans, facts.slices, raw)


def _train(prepared: Path, run: Path, seed: int) -> None:
    settings = config.load(Path("configs/demo.yaml"), [f"train.seed={seed}"])
    resume = (run / LAST).is_file()
    if not resume:
        shutil.rmtree(run, ignore_errors=True)
    train(settings, TrainOptions(data=prepared, run=run, resume=resume))


def _picture(prepared: Path, predictions: Path) -> overlay.Picture:
    dataset = Dataset.load(prepared)
    sample = dataset.of(CASE)[-1]
    found = [
        volume.read(predictions / sample.name / f"{name}.nii.gz").voxels.astype(bool)
        for name in dataset.classes
    ]
    return overlay.overlay(
        dataset.image(sample),
        np.stack(found),
        truth=dataset.labels(sample),
        classes=dataset.classes,
    )
