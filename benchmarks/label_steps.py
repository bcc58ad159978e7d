"""What do steps gain that labels alone justify, beside none and beside those that `tune` would choose?

    .venv/bin/python benchmarks/label_steps.py RUN DATA

RUN is a run of five folds (`volseg train --fold each`) on the prepared dataset DATA; it is only read. Each
scan is predicted by the fold that has not seen its case, and its masks are made in four ways:

    none        a threshold of one half
    labels      behind it the steps that the labels of that fold's training scans justify
    tune        what `volseg tune` chooses for Dice, from `none` on, by the cases of the other four fifths
    both        the same from `labels` on

Differences to `none` are over cases, with 95 % intervals; a distance is left out where a mask is empty.
"""

import argparse
import math
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from volseg.arguments import InferArguments
from volseg.evaluation import bootstrap
from volseg.inference.out_of_fold import OutOfFoldScan, OutOfFoldScans
from volseg.metrics import HD95, Dice
from volseg.metrics.mask_pair import MaskPair
from volseg.postprocessing import Step, Threshold
from volseg.system.hardware import available_cores
from volseg.system.timing import StepTimer
from volseg.training.label_parts import steps_by_labels
from volseg.tuning.nested_cross_validation import ClassSearch, split_into_folds
from volseg.tuning.search_space import SEARCH_DIMENSIONS, class_pipeline, format_step, merge_pipelines
from volseg.tuning.trials import PredictedScan, TrialRunner

NONE: tuple[Step, ...] = (Threshold(),)
Scores = dict[str, dict[str, list[float]]]
"""By class and case, a value a scan."""


@dataclass(frozen=True)
class Scan:
    """A scan that its network has not seen, and the steps that this network's labels justify."""

    predicted: OutOfFoldScan
    by_labels: tuple[Step, ...]


def predict(folds: OutOfFoldScans) -> list[Scan]:
    begun = time.monotonic()
    steps = {}
    for run in folds.members:
        justified = steps_by_labels(folds.dataset, run.facts.train)
        steps[run.folder] = justified.added_to(NONE)
        print(f"{run.folder.name}: {', '.join(map(named, justified.steps)) or 'no step'}")
    print(f"labels measured in {time.monotonic() - begun:.1f} s for {len(folds.members)} folds", flush=True)
    runs = {sample.name: run for run, sample in folds.scans}
    return [
        Scan(one, steps[runs[one.sample.name].folder])
        for one in folds.predict_scans(InferArguments(), "predicting")
    ]


def named(step: Step) -> str:
    return " ".join([format_step(step), *([f"({', '.join(step.only)})"] if step.only else [])])


def tuned_steps(
    folds: OutOfFoldScans, scans: Sequence[Scan], start: tuple[Step, ...]
) -> tuple[dict[str, tuple[Step, ...]], tuple[Step, ...]]:
    """By case the steps that `tune` chooses without its fifth of the cases, and those that it would apply."""
    predicted = [PredictedScan(one.predicted.sample, one.predicted.maps) for one in scans]
    runner = TrialRunner(folds.dataset, predicted, start, "dice", math.inf)
    searches = {
        name: ClassSearch(class_pipeline(start, name), len(runner.cases), None, len(folds.dataset.classes))
        for name in folds.dataset.classes
    }
    for dimension in SEARCH_DIMENSIONS:
        wanted = {name: one.pipelines_to_score(dimension) for name, one in searches.items()}
        tables = runner.score_pipelines(wanted, dimension.name)
        for name, search in searches.items():
            search.choose(dimension, tables[name])
    chosen = {}
    for number, fold in enumerate(split_into_folds(len(runner.cases))):
        merged = merge_pipelines({name: one.fold_pipelines[number] for name, one in searches.items()})
        chosen |= {runner.cases[place]: merged for place in fold}
    return chosen, merge_pipelines({name: one.pipeline for name, one in searches.items()})


def score(
    folds: OutOfFoldScans, scans: Sequence[Scan], ways: Mapping[str, Sequence[tuple[Step, ...]]]
) -> dict[str, dict[str, Scores]]:
    """By metric and way the scores of all scans; `ways` have the steps of each scan."""
    found: dict[str, dict[str, Scores]] = {"Dice": {}, "HD95": {}}
    for number, scan in enumerate(scans):
        one = scan.predicted
        labels = {name: folds.dataset.label(one.sample, name) for name in folds.dataset.classes}
        for way, steps in ways.items():
            predictor = replace(one.predictor, postprocess=steps[number])
            for name, mask in predictor.postprocess_masks(one.maps, one.channels[0], StepTimer()):
                pair = MaskPair(labels[name], mask, one.sample.spacing_mm)
                for metric in (Dice(), HD95()):
                    of_class = found[type(metric).__name__].setdefault(way, {}).setdefault(name, {})
                    value = metric(pair)
                    of_class.setdefault(one.sample.case, []).append(value if np.isfinite(value) else math.nan)
    return found


def tell(metric: str, ways: dict[str, Scores], *, digits: int, better: int) -> None:
    """A row a class and way: the mean, the difference to `none`, and how many cases got better and worse."""
    print(f"\n{metric:16} {'way':8} {'mean':>8}  difference to none, 95 % interval{'better':>10}{'worse':>7}")
    for name, before in ways["none"].items():
        for way, scores in ways.items():
            after = scores[name]
            one, other = ({case: np.array(side[case]) for case in before} for side in (after, before))
            missing = {case: np.isnan(one[case]) | np.isnan(other[case]) for case in before}
            one, other = (
                {case: np.where(missing[case], math.nan, side[case]) for case in before}
                for side in (one, other)
            )
            gain = bootstrap.difference(one, other)
            shifts = [better * np.nanmean(one[c] - other[c]) for c in before if not missing[c].all()]
            left_out = sum(int(absent.sum()) for absent in missing.values())
            print(
                f"{name:16} {way:8} {bootstrap.mean(one).mean:8.{digits}f}  "
                f"{gain.to_text(digits, sign='+'):34}{sum(x > 1e-6 for x in shifts):10}"
                f"{sum(x < -1e-6 for x in shifts):7}"
                + (f"  ({left_out} scans left out)" if left_out else ""),
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    given = parser.parse_args()
    print(
        f"{platform.machine()}, {available_cores()} cores, {os.uname().sysname}, {time.strftime('%Y-%m-%d')}"
    )
    folds = OutOfFoldScans.of_run(str(given.run), given.data, "tune")
    scans = predict(folds)
    cases = len({one.predicted.sample.case for one in scans})
    print(f"{len(scans)} scans of {cases} cases, each by the fold that has not seen it", flush=True)
    ways: dict[str, list[tuple[Step, ...]]] = {
        "none": [NONE] * len(scans),
        "labels": [one.by_labels for one in scans],
    }
    for way, start in (("tune", NONE), ("both", scans[0].by_labels)):
        chosen, applied = tuned_steps(folds, scans, start)
        ways[way] = [chosen[one.predicted.sample.case] for one in scans]
        print(f"{way}: on all cases {', '.join(map(named, applied))}", flush=True)
    found = score(folds, scans, ways)
    tell("Dice", found["Dice"], digits=4, better=1)
    tell("HD95", found["HD95"], digits=2, better=-1)


if __name__ == "__main__":
    main()
