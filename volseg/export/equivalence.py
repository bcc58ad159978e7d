"""Equivalence of a package and its run: the differences of probabilities and masks on one scan."""

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
"""Arithmetics differ where a probability is near one half, and an unfamiliar scan has many such voxels."""
MOST_MEAN = 0.002
MOST_FAR = 1 / 1000
FAR = 0.05
SMALL = 100
"""Voxels up to which Dice says little of masks."""
SETS = ("unseen_cases", "later_days", "hold_out", "train")


@dataclass(frozen=True)
class ExampleScan:
    """A scan to compare on: its name for people, and its channels on the native grid."""

    name: str
    channels: tuple[Volume, ...]


@dataclass(frozen=True)
class EquivalenceResult:
    """The differences between a run's and a package's prediction of one scan, by class.

    Dice between the masks (NaN where both are small), the mean difference of probabilities, and the
    share of voxels where the difference is more than FAR.
    """

    network_name: str
    scan: str
    dice: dict[str, float]
    mean_differences: dict[str, float]
    far_shares: dict[str, float]

    @property
    def problems(self) -> list[str]:
        """A line for each figure beyond its limit."""
        limits = (
            ("the mean difference of probabilities", self.mean_differences, MOST_MEAN),
            (f"the share of voxels that differ by more than {FAR}", self.far_shares, MOST_FAR),
        )
        return [
            *(
                f"{name}: Dice between the masks is {dice:.5f}; expected at least {LEAST_DICE:g}"
                for name, dice in self.dice.items()
                if dice < LEAST_DICE
            ),
            *(
                f"{name}: {figure} is {value:.5f}; expected at most {limit:g}"
                for figure, values, limit in limits
                for name, value in values.items()
                if value > limit
            ),
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
    """The first scan of the dataset that the run was not trained on, else a phantom's."""
    scans = held_out_samples(run, dataset) if dataset else []
    if dataset and scans:
        return ExampleScan(f"{scans[0].name} of {dataset.folder}", dataset.channels(scans[0]))
    why = f" ({data} has none of the run's scans or other classes)" if data else ""
    volume = _cropped_phantom(run)
    return ExampleScan(f"a phantom scan{why}", (volume,) * len(run.facts.channels))


def _cropped_phantom(run: Run) -> Volume:
    """The middle of a phantom's scan, at most two of the run's windows long on each axis."""
    grid = phantom.SMALL[0]
    image, _ = phantom.simulate_scan(123, 20, grid=grid)
    native_mm = grid.spacing_mm
    network_mm = run.config.data.spacing_mm or native_mm
    shape = [
        math.ceil(2 * n * t / h) for n, t, h in zip(run.config.window, network_mm, native_mm, strict=True)
    ]
    starts = [max(0, (n - m) // 2) for n, m in zip(image.shape, shape, strict=True)]
    x, y, z = (slice(start, start + m) for start, m in zip(starts, shape, strict=True))
    return Volume(image[x, y, z], stack_affine(grid.pixel_mm, native_mm[2]))


def held_out_samples(run: Run, dataset: Dataset) -> list[Sample]:
    """The scans of the first of the run's sets that the dataset has scans of, validation's first.

    A scan that ancestors of the weights were trained on counts as the run's own training scan.
    """
    sets: dict[str, list[Sample]] = {name: [] for name in (*SETS, "other")}
    for sample in dataset.samples:
        seen = run.facts.seen_in_training(sample.identity)
        sets["train" if seen == "scan" else run.facts.split_name(sample.identity)].append(sample)
    return next((sets[name] for name in SETS if sets[name]), [])


def compare_predictions(
    run: Run, package: Run, scan: ExampleScan, device: str | None = None
) -> EquivalenceResult:
    """Predict a scan by a run, with torch, and by its package; torch's network is freed in between.

    `device` is torch's, by name.

    Raises:
        UserError: weights or files that can't be used, or output that is no finite number.
    """
    expected = list(_predict_classes(load_run_predictor(run, Torch(), device), scan))
    device = device if "torch" in package.formats else None
    engine = choose_engine("auto", package.formats, device).engine
    predictor = load_run_predictor(package, engine, device)
    dice, mean, far = {}, {}, {}
    for name, (run_probability, run_mask), (probability, mask) in zip(
        run.facts.classes, expected, _predict_classes(predictor, scan), strict=True
    ):
        difference = np.abs(run_probability.astype(np.int16) - probability) / 255
        is_large = max(np.count_nonzero(run_mask), np.count_nonzero(mask)) > SMALL
        pair = MaskPair(run_mask, mask, scan.channels[0].spacing_mm)
        dice[name] = Dice()(pair) if is_large else math.nan
        mean[name] = float(difference.mean())
        far[name] = float(np.mean(difference > FAR))
    return EquivalenceResult(str(predictor.members[0].network), scan.name, dice, mean, far)


def load_run_predictor(run: Run, engine: Engine, device: str | None = None) -> Predictor:
    """The predictor of a run or package by an engine, on a device by its name."""
    work = EngineOptions(available_cores(), run.config.inference.batch, device=device)
    network = engine.load(run.trained_model, work)
    return build_predictor(run, ensemble_member(run, network))


def require_equivalence(package: Path, result: EquivalenceResult) -> None:
    """Raise a UserError with the figures where a package differs from its run."""
    if result.problems:
        raise UserError.from_problems(
            f"{package}: does not predict what the run predicts, so it was not kept: {line} ({result})"
            for line in result.problems
        )


def _predict_classes(predictor: Predictor, scan: ExampleScan) -> Iterator[tuple[Bytes, Mask]]:
    """Each class's probability in 255ths and its mask, (X, Y, Z) on the native grid."""
    maps = predictor.predict_probabilities(scan.channels, StepTimer())
    for number, (_, mask) in enumerate(predictor.postprocess_masks(maps, scan.channels[0], StepTimer())):
        yield maps.class_probability(number), mask
