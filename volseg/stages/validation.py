"""Validation while training: the scans kept apart, whole, through the path of inference."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from volseg import console
from volseg.data.dataset import Dataset, Sample
from volseg.data.folds import Split
from volseg.data.overlay import overlay
from volseg.masks.comparison import Comparison
from volseg.masks.metrics import Dice
from volseg.model.predict import Predictor


@dataclass(frozen=True)
class Validation:
    """Full-volume Dice of the scans kept apart, each set by itself, through the path of inference."""

    dataset: Dataset
    parts: Split
    predictor: Predictor

    def scores(self, board: SummaryWriter, step: int) -> dict[str, float]:
        """Mean Dice by set, and over both sets as `score`; empty without validation sets."""
        scores: dict[str, float] = {}
        for name in ("unseen_cases", "later_days"):
            scans = [s for s in self.dataset.samples if s.name in getattr(self.parts, name)]
            if scans:
                values = self._dice(scans, board, step=step, name=name)
                scores[name] = round(float(np.nanmean(values)), 5)
                for organ, value in zip(self.dataset.classes, values, strict=True):
                    scores[f"{name}_{organ}"] = round(value, 5)
        sets = [scores[name] for name in ("unseen_cases", "later_days") if name in scores]
        sets = [score for score in sets if not math.isnan(score)]  # a set without any organ
        return scores | ({"score": round(float(np.mean(sets)), 5)} if sets else {})

    def _dice(
        self, scans: Sequence[Sample], board: SummaryWriter, *, step: int, name: str
    ) -> list[float]:
        """The mean over scans of each class's Dice; NaN where no scan has the class."""
        values = np.full((len(scans), len(self.dataset.classes)), np.nan)
        with console.progress(f"validating {name}") as report:
            for row, sample in enumerate(scans):
                image = [self.dataset.image(sample, c) for c in range(len(sample.images))]
                found = np.stack([mask for _, mask in self.predictor.masks(image)])
                truth = self.dataset.labels(sample)
                for column in range(len(found)):
                    pair = Comparison(truth[column], found[column], sample.spacing_mm)
                    values[row, column] = Dice()(pair)
                if row == 0:
                    picture = overlay(image[0], found, truth=truth, numbers=sample.slices)
                    board.add_image(name, picture, step, dataformats="HWC")
                report(row + 1, len(scans))
        seen = ~np.isnan(values)
        total = np.where(seen, values, 0).sum(axis=0)
        return [
            float(t / n) if n else math.nan for t, n in zip(total, seen.sum(axis=0), strict=True)
        ]
