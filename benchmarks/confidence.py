"""How far is confidence from the Dice of scans that had no part in its calibration?

    .venv/bin/python benchmarks/confidence.py RUN DATA

RUN is a run with validation scans, or one of five folds (`volseg train --fold each`), on the prepared dataset
DATA; it is only read. Each validation scan is predicted by a network that has not seen its case, and the Dice
to expect of each mask is told in four ways, each case by what the other cases say:

    sum          2 sum(p) over the mask, divided by its voxels plus sum(p) over the scan: what probabilities
                 expect by themselves
    temperature  the same, with the probabilities of each class calibrated
    certainty    the mean probability of the mask's voxels, as `volseg infer` tells it without a calibration
    calibrated   what that stands for, as `volseg infer` tells it behind `volseg calibrate`

Each way has three columns: mean error, bias and rank, which is Spearman's within a class, and its mean over
classes. In range is the share of masks whose Dice lies where that of eight in ten is expected.
"""

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from volseg.arguments import InferArguments
from volseg.calibration.class_outcomes import ClassOutcome, class_outcomes
from volseg.calibration.left_out import JudgedOutcome, judge_left_out, spearman_correlation
from volseg.inference.confidence.temperature_scaling import TemperatureScaling
from volseg.inference.out_of_fold import OutOfFoldScans

Told = Callable[[JudgedOutcome], float]


def by_sum(outcome: ClassOutcome, scaling: TemperatureScaling) -> float:
    """The Dice that probabilities expect of a mask by themselves."""
    counts, table = outcome.mask_counts, scaling.level_probabilities
    volume = float(counts.sum(axis=0) @ table) / (1 - scaling.missed)
    return float(2 * (counts[1] @ table) / (counts[1].sum() + volume))


WAYS: dict[str, Told] = {
    "sum": lambda one: by_sum(one.outcome, TemperatureScaling()),
    "temperature": lambda one: by_sum(one.outcome, one.scaling),
    "certainty": lambda one: one.outcome.certainty,
    "calibrated": lambda one: one.estimate.dice(one.outcome.certainty),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("data", type=Path)
    given = parser.parse_args()
    scans = OutOfFoldScans.of_run(given.run, given.data, "measure")
    outcomes = [
        outcome
        for scan in scans.predict_scans(InferArguments(), "predicting")
        for outcome in class_outcomes(scan, scans.dataset)
    ]
    judged = [
        one for one in judge_left_out(outcomes) if not math.isnan(one.outcome.certainty + one.outcome.dice)
    ]
    cases = len({one.outcome.case for one in judged})
    print(f"{len(judged)} masks of {cases} cases; error, bias, rank and share in range by left-out cases")
    for row in rows(judged, scans.dataset.classes):
        print(row)


def rows(judged: Sequence[JudgedOutcome], classes: Sequence[str]) -> Iterator[str]:
    yield f"{'':16}{'Dice':>7}" + "".join(f"{way:>22}" for way in WAYS) + f"{'in range':>10}"
    ranks: dict[str, list[float]] = {way: [] for way in WAYS}
    for name in classes:
        own = [one for one in judged if one.outcome.class_name == name]
        if own:
            for way, told in WAYS.items():
                by = WAYS["certainty"] if way == "calibrated" else told  # a line that rises keeps the order
                ranks[way].append(spearman_correlation(*pairs(own, by)))
            yield row(name, own, {way: values[-1] for way, values in ranks.items()})
    yield row("all", judged, {way: float(np.nanmean(values)) for way, values in ranks.items()})


def row(name: str, judged: Sequence[JudgedOutcome], ranks: dict[str, float]) -> str:
    cells = []
    for way, told in WAYS.items():
        apart = np.subtract(*pairs(judged, told))
        cells.append(f"{np.abs(apart).mean():8.3f}{apart.mean():+8.3f}{ranks[way]:6.2f}")
    ends = [(one.estimate.bounds(one.outcome.certainty), one.outcome.dice) for one in judged]
    inside = [bounds[0] <= dice <= bounds[1] for bounds, dice in ends if bounds]
    share = f"{np.mean(inside):10.0%}" if inside else f"{'-':>10}"
    return f"{name:16}{np.mean([one.outcome.dice for one in judged]):7.3f}{''.join(cells)}{share}"


def pairs(judged: Sequence[JudgedOutcome], told: Told) -> tuple[np.ndarray, np.ndarray]:
    return np.array([told(one) for one in judged]), np.array([one.outcome.dice for one in judged])


if __name__ == "__main__":
    main()
