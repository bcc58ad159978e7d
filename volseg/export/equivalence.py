"""Whether a package predicts what its run predicts: probabilities and masks of one scan, side by side."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from volseg.data import phantom
from volseg.data.dataset import Dataset, Sample
from volseg.data.volume import Volume, stack_affine
from volseg.errors import UserError
from volseg.inference.predictor import Mask, Predictor, build_predictor, ensemble_member
from volseg.inference.probability_maps import Bytes
from volseg.metrics.mask_pair import MaskPair
from volseg.metrics.overlap import Dice
from volseg.model.engines import Engine, EngineOptions, Torch
from volseg.model.engines.selection import choose_engine
from volseg.runs.run import Run
from volseg.system.hardware import available_cores
from volseg.system.timing import StepTimer

LEAST_DICE = 0.98
"""Two arithmetics part where a probability is one half, and a strange scan has many such places."""
MOST_MEAN = 0.002
MOST_FAR = 1 / 1000
FAR = 0.05
SMALL = 100
"""The masks of both have no more voxels: Dice says little of them."""
SETS = ("unseen_cases", "later_days", "hold_out", "train")
CASE, DAY = 123, 20


@dataclass(frozen=True)
class ExampleScan:
    """A scan to compare on, its channels on their native grid, and what people call it."""

    name: str
    channels: tuple[Volume, ...]


@dataclass(frozen=True)
class EquivalenceResult:
    """How near two networks' predictions of one scan are, by class.

    Dice between the masks (NaN where both are small), the mean difference of probabilities, and the
    share of voxels where it is more than FAR.
    """

    network_name: str
    scan: str
    dice: dict[str, float]
    mean_differences: dict[str, float]
    far_shares: dict[str, float]

    @property
    def problems(self) -> list[str]:
        """Where it is too little, a line each."""
        limits = (
            ("Dice between the masks", {n: -d for n, d in self.dice.items()}, -LEAST_DICE),
            ("the mean difference of probabilities", self.mean_differences, MOST_MEAN),
            (f"the share of voxels that differ by more than {FAR}", self.far_shares, MOST_FAR),
        )
        return [
            f"{name}: {what} is {abs(value):.5f}; expected {_format_limit(limit)}"
            for what, values, limit in limits
            for name, value in values.items()
            if value > limit
        ]

    def __str__(self) -> str:
        """The worst class's figures."""
        known = [value for value in self.dice.values() if not math.isnan(value)]
        dice = f"{min(known):.4f}" if known else "not known (no organ found)"
        return (
            f"{self.scan} by {self.network_name}: Dice with the run's masks {dice}, mean difference of "
            f"probabilities {max(self.mean_differences.values()):.5f}, "
            f"{max(self.far_shares.values()):.3%} of voxels differ by more than {FAR}"
        )


def example_scan(run: Run, data: Path | None, dataset: Dataset | None) -> ExampleScan:
    """The first scan of the run's that training did not see, else a phantom's."""
    scans = held_out_samples(run, dataset) if dataset else []
    if dataset and scans:
        return ExampleScan(f"{scans[0].name} of {dataset.folder}", dataset.channels(scans[0]))
    why = f" ({data} has none of the run's scans or other classes)" if data else ""
    volume = _cropped_phantom(run)
    return ExampleScan(f"a phantom scan{why}", (volume,) * len(run.facts.channels))


def _cropped_phantom(run: Run) -> Volume:
    """The middle of a phantom's scan, at most two of the run's windows long on each axis."""
    grid = phantom.SMALL[0]
    image, _ = phantom.simulate_scan(CASE, DAY, grid=grid)
    here = grid.spacing_mm
    there = run.config.data.spacing_mm or here
    most = [math.ceil(2 * n * t / h) for n, t, h in zip(run.config.window, there, here, strict=True)]
    x, y, z = (
        slice(max(0, (n - m) // 2), max(0, (n - m) // 2) + m) for n, m in zip(image.shape, most, strict=True)
    )
    return Volume(image[x, y, z], stack_affine(grid.pixel_mm, here[2]))


def held_out_samples(run: Run, dataset: Dataset) -> list[Sample]:
    """The scans of the first of the run's sets that has any here, those of validation first."""
    for name in SETS:
        scans = [one for one in dataset.samples if one.name in getattr(run.facts, name)]
        if scans:
            return scans
    return []


def compare_predictions(run: Run, package: Run, scan: ExampleScan) -> EquivalenceResult:
    """Predict a scan by a run, with torch, and by its package; torch's networks are let go first.

    Raises:
        UserError: weights or files that can't be used, or output that is no finite number.
    """
    own = list(_predict_classes(load_run_predictor(run, Torch()), scan))
    by = choose_engine("auto", package.trained_model.formats).engine
    other = load_run_predictor(package, by)
    dice, mean, far = {}, {}, {}
    for name, (probability, mask), (found, made) in zip(
        run.facts.classes, own, _predict_classes(other, scan), strict=True
    ):
        away = np.abs(probability.astype(np.int16) - found) / 255
        large = max(np.count_nonzero(mask), np.count_nonzero(made)) > SMALL
        pair = MaskPair(mask, made, scan.channels[0].spacing_mm)
        dice[name] = Dice()(pair) if large else math.nan
        mean[name] = float(away.mean())
        far[name] = float(np.mean(away > FAR))
    return EquivalenceResult(str(other.members[0].network), scan.name, dice, mean, far)


def load_run_predictor(run: Run, engine: Engine) -> Predictor:
    """A run alone, by an engine."""
    network = engine.load(run.trained_model, EngineOptions(available_cores(), run.config.inference.batch))
    return build_predictor(run, ensemble_member(run, network))


def require_equivalence(package: Path, found: EquivalenceResult) -> None:
    """Raise where a package differs from its run.

    Raises:
        UserError: with the figures.
    """
    if found.problems:
        raise UserError.from_problems(
            f"{package}: does not predict what the run predicts, so it was not kept: {line} ({found})"
            for line in found.problems
        )


def _predict_classes(by: Predictor, scan: ExampleScan) -> Iterator[tuple[Bytes, Mask]]:
    """Each class's probability in 255ths and its mask, (X, Y, Z) on the native grid."""
    maps = by.predict_probabilities(scan.channels, StepTimer())
    for number, (_, mask) in enumerate(by.postprocess_masks(maps, scan.channels[0], StepTimer())):
        yield maps.class_probability(number), mask


def _format_limit(limit: float) -> str:
    return f"at least {-limit:g}" if limit < 0 else f"at most {limit:g}"
