"""Validation during training: Dice of full scans, predicted as by `volseg infer`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from volseg import console
from volseg.data.dataset import Dataset, Sample
from volseg.inference.predictor import Predictor
from volseg.metrics.mask_pair import MaskPair
from volseg.metrics.overlap import Dice
from volseg.model.distributed import process_group
from volseg.runs.run_files import RunSplits
from volseg.training.board import Board
from volseg.training.stopping import StopAgreement
from volseg.visualization.overlay import Picture, draw_overlay


@dataclass(frozen=True)
class Validation:
    """Full-volume Dice of the validation sets. Several ranks share the scans, and all get the scores."""

    dataset: Dataset
    sets: RunSplits
    predictor: Predictor

    def scores(self, board: Board | None, step: int, agreement: StopAgreement) -> dict[str, float]:
        """Mean Dice by set and class, and over both sets as `score`; empty without validation sets.

        A picture of the first scan of each set goes to TensorBoard.

        Raises:
            Stopped: by a signal, between two scans.
        """
        scores: dict[str, float] = {}
        for name in ("unseen_cases", "later_days"):
            scans = [s for s in self.dataset.samples if s.name in getattr(self.sets, name)]
            if scans:
                picture, values = self._mean_dice(scans, name, agreement)
                if board and picture is not None:
                    board.add_picture(name, picture, step)
                scores[name] = round(float(np.nanmean(values)), 5)
                for class_name, value in zip(self.dataset.classes, values, strict=True):
                    scores[f"{name}_{class_name}"] = round(value, 5)
        means = [scores[name] for name in ("unseen_cases", "later_days") if name in scores]
        means = [mean for mean in means if not math.isnan(mean)]  # NaN: a set without any class
        return scores | ({"score": round(float(np.mean(means)), 5)} if means else {})

    def _mean_dice(
        self, scans: Sequence[Sample], name: str, agreement: StopAgreement
    ) -> tuple[Picture | None, list[float]]:
        """A picture of the first scan (on rank 0), and each class's mean Dice; NaN: no scan has the class."""
        values: dict[int, list[float]] = {}
        picture, ranks = None, process_group.world_size()
        with console.progress_bar(f"validating {name}") as report:
            for first in range(0, len(scans), ranks):  # one scan a rank
                number = first + process_group.rank()
                if number < len(scans):
                    values[number], drawn = self._scan_dice(scans[number], draw=number == 0)
                    picture = picture if drawn is None else drawn
                report(min(first + ranks, len(scans)), len(scans))
                agreement.raise_if_stopped()
        rows = {number: row for part in process_group.all_gather(values) for number, row in part.items()}
        return picture, _column_means(np.asarray([rows[number] for number in range(len(scans))]))

    def _scan_dice(self, sample: Sample, *, draw: bool) -> tuple[list[float], Picture | None]:
        """Each class's Dice, and on demand a picture."""
        image = self.dataset.channels(sample)
        prediction = np.stack([mask for _, mask in self.predictor.predict_masks(image)])
        labels = self.dataset.labels(sample)
        pairs = zip(labels, prediction, strict=True)
        values = [Dice()(MaskPair(label, mask, sample.spacing_mm)) for label, mask in pairs]
        drawn = draw_overlay(image[0], prediction, labels=labels, numbers=sample.slices) if draw else None
        return values, drawn


def _column_means(values: npt.NDArray[np.float64]) -> list[float]:
    """The mean of each column without its NaNs; NaN where there is nothing else."""
    defined = ~np.isnan(values)
    total = np.where(defined, values, 0).sum(axis=0)
    return [float(t / n) if n else math.nan for t, n in zip(total, defined.sum(axis=0), strict=True)]
