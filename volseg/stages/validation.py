"""Validation while training: the scans kept apart, whole, through the path of inference."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch.utils.tensorboard import SummaryWriter

from volseg import console, signals
from volseg.data.dataset import Dataset, Sample
from volseg.data.folds import Split
from volseg.data.overlay import Picture, overlay
from volseg.masks.comparison import Comparison
from volseg.masks.metrics import Dice
from volseg.model.predict import Predictor


@dataclass(frozen=True)
class Validation:
    """Full-volume Dice of the scans kept apart, each set by itself, through the path of inference."""

    dataset: Dataset
    parts: Split
    predictor: Predictor

    def scores(self, board: SummaryWriter, step: int, request: signals.Request) -> dict[str, float]:
        """Mean Dice by set, and over both sets as `score`; empty without validation sets.

        Raises:
            Stopped: it was asked to end; heeded between scans.
        """
        scores: dict[str, float] = {}
        for name in ("unseen_cases", "later_days"):
            scans = [s for s in self.dataset.samples if s.name in getattr(self.parts, name)]
            if scans:
                first, values = self._dice(scans, name, request)
                board.add_image(name, first, step, dataformats="HWC")
                scores[name] = round(float(np.nanmean(values)), 5)
                for organ, value in zip(self.dataset.classes, values, strict=True):
                    scores[f"{name}_{organ}"] = round(value, 5)
        sets = [scores[name] for name in ("unseen_cases", "later_days") if name in scores]
        sets = [score for score in sets if not math.isnan(score)]  # a set without any organ
        return scores | ({"score": round(float(np.mean(sets)), 5)} if sets else {})

    def _dice(
        self, scans: Sequence[Sample], name: str, request: signals.Request
    ) -> tuple[Picture, list[float]]:
        """A picture of the first scan, and the mean over scans of each class's Dice (NaN: no truth)."""
        values, pictures = [], []
        with console.progress(f"validating {name}") as report:
            for number, sample in enumerate(scans):
                image = [self.dataset.image(sample, c) for c in range(len(sample.images))]
                found = np.stack([mask for _, mask in self.predictor.masks(image)])
                truth = self.dataset.labels(sample)
                pairs = zip(truth, found, strict=True)
                values.append([Dice()(Comparison(t, f, sample.spacing_mm)) for t, f in pairs])
                if number == 0:
                    pictures.append(overlay(image[0], found, truth=truth, numbers=sample.slices))
                report(number + 1, len(scans))
                request.check()
        return pictures[0], _mean(np.asarray(values))


def _mean(values: npt.NDArray[np.float64]) -> list[float]:
    """The mean of each column's numbers; NaN where it has none."""
    seen = ~np.isnan(values)
    total = np.where(seen, values, 0).sum(axis=0)
    return [float(t / n) if n else math.nan for t, n in zip(total, seen.sum(axis=0), strict=True)]
