"""Validation while training: the scans kept apart, whole, through the path of inference."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch.utils.tensorboard import SummaryWriter

from volseg import console
from volseg.data.dataset import Dataset, Sample
from volseg.data.splits import Split
from volseg.inference.predictor import Predictor
from volseg.metrics.mask_pair import MaskPair
from volseg.metrics.overlap import Dice
from volseg.model.distributed import process_group
from volseg.training.stopping import StopAgreement
from volseg.visualization.overlay import Picture, draw_overlay


@dataclass(frozen=True)
class Validation:
    """Full-volume Dice of the scans kept apart, each set by itself, through the path of inference.

    Several ranks share the scans out and all learn the scores.
    """

    dataset: Dataset
    parts: Split
    predictor: Predictor

    def scores(self, board: SummaryWriter | None, step: int, accord: StopAgreement) -> dict[str, float]:
        """Mean Dice by set, and over both sets as `score`; empty without validation sets.

        The first scan of each set is drawn on the board.

        Raises:
            Stopped: it was asked to end; heeded between scans.
        """
        scores: dict[str, float] = {}
        for name in ("unseen_cases", "later_days"):
            scans = [s for s in self.dataset.samples if s.name in getattr(self.parts, name)]
            if scans:
                first, values = self._mean_dice(scans, name, accord)
                if board and first is not None:
                    board.add_image(name, first, step, dataformats="HWC")
                scores[name] = round(float(np.nanmean(values)), 5)
                for organ, value in zip(self.dataset.classes, values, strict=True):
                    scores[f"{name}_{organ}"] = round(value, 5)
        sets = [scores[name] for name in ("unseen_cases", "later_days") if name in scores]
        sets = [score for score in sets if not math.isnan(score)]  # a set without any organ
        return scores | ({"score": round(float(np.mean(sets)), 5)} if sets else {})

    def _mean_dice(
        self, scans: Sequence[Sample], name: str, accord: StopAgreement
    ) -> tuple[Picture | None, list[float]]:
        """A picture of the first scan (on rank 0), and each class's mean Dice over all scans.

        It is NaN for a class that no scan has.
        """
        values: dict[int, list[float]] = {}
        picture = None
        with console.progress_bar(f"validating {name}") as report:
            for begun in range(0, len(scans), process_group.world_size()):  # one scan a rank
                number = begun + process_group.rank()
                if number < len(scans):
                    values[number], drawn = self._scan_dice(scans[number], draw=number == 0)
                    picture = picture if drawn is None else drawn
                report(min(begun + process_group.world_size(), len(scans)), len(scans))
                accord.raise_if_stopped()
        together = {n: row for part in process_group.all_gather(values) for n, row in part.items()}
        return picture, _column_means(np.asarray([together[number] for number in range(len(scans))]))

    def _scan_dice(self, sample: Sample, *, draw: bool) -> tuple[list[float], Picture | None]:
        """Each class's Dice, and on demand a picture."""
        image = self.dataset.channels(sample)
        found = np.stack([mask for _, mask in self.predictor.predict_masks(image)])
        truth = self.dataset.labels(sample)
        pairs = zip(truth, found, strict=True)
        values = [Dice()(MaskPair(t, f, sample.spacing_mm)) for t, f in pairs]
        drawn = draw_overlay(image[0], found, labels=truth, numbers=sample.slices) if draw else None
        return values, drawn


def _column_means(values: npt.NDArray[np.float64]) -> list[float]:
    """The mean of each column's numbers; NaN where it has none."""
    seen = ~np.isnan(values)
    total = np.where(seen, values, 0).sum(axis=0)
    return [float(t / n) if n else math.nan for t, n in zip(total, seen.sum(axis=0), strict=True)]
