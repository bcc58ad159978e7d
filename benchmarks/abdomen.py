"""How good are masks of scans that were left out, by folds of patients, after equal minutes of training?

    .venv/bin/python benchmarks/abdomen.py DATA --minutes 30 [--config FILE] [section.key=value ...]
    .venv/bin/python benchmarks/abdomen.py DATA --minutes 30 --nnunet
    .venv/bin/python benchmarks/abdomen.py DATA --minutes 30 --table

DATA is a small prepared dataset, such as CHAOS. Patients are dealt to five folds as by `volseg train`; for
each fold a network learns from the other four, and predicts the patients that were left out. Each call is a
row of the table, called --name: by default what `volseg plan` writes for the minutes, or the config's name.
What is done is not done again, so a call may be stopped and repeated; --table only prints.

Which weights are kept is a matter of fairness, and told behind the name:

    last        training ends by the clock and its last weights are kept; the patients left out, whom volseg
                calls held out, choose nothing (as nnU-Net does by itself)
    inner       the best weights by a fifth of the training patients, who are not trained on
    left-out    the best weights by the patients that are scored, as `volseg train --fold each` does: a
                little too good

`--nnunet` trains nnU-Net on the same folds, in an environment of its own (`nnunet_folds.py`), and its masks
are scored by the same code. The minutes of both are of training alone, from the first step to the last
with validation in between; planning, preparation of files, predicting and scoring are not counted, and
their seconds told apart.
"""

import argparse
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import nnunet_folds
import numpy as np
from nnunet_folds import NnUnet

from volseg.data.dataset import Dataset
from volseg.data.splits import FOLDS, split_samples
from volseg.errors import UserError
from volseg.evaluation import bootstrap, score_files
from volseg.schema import Section
from volseg.system.json_files import read_json, write_json

Choice = Literal["last", "inner", "left-out"]
RESULT, ROW = "result.json", "row.json"
METRICS = ("Dice", "HD95")


class Row(Section):
    """What the folds of a row have in common."""

    name: str
    choice: str
    minutes: float
    seed: int
    threads: int
    settings: tuple[str, ...]
    plan_seconds: float = 0.0


class FoldResult(Section):
    """The scores of a fold's left-out scans by scan, class and metric (None: infinite), and seconds."""

    cases: dict[str, str]
    train_seconds: float
    predict_seconds: float
    scores: dict[str, dict[str, dict[str, float | None]]]


@dataclass(frozen=True)
class Benchmark:
    """The dataset and the folder of all rows."""

    dataset: Dataset
    out: Path

    def left_out(self, fold: int) -> dict[str, str]:
        """The cases of the scans that a fold leaves out, by scan."""
        names = split_samples(self.dataset.samples, fold=fold).unseen_cases
        return {one.name: one.case for one in self.dataset.samples if one.name in names}

    def train_fold(self, row: Row, config: Path, fold: int) -> None:
        """Train, predict and score a fold by volseg's commands."""
        folder, cases = self.out / row.name / f"fold{fold}", self.left_out(fold)
        run, masks = folder / "run", folder / "masks"
        apart = [] if row.choice == "left-out" else [f"data.hold_out=[{','.join(sorted({*cases.values()}))}]"]
        alone = ["data.split=none"] if row.choice == "last" else []
        words = [config, *row.settings, *apart, *alone, f"train.seed={row.seed}", "--run", run]
        words += ["--fold", fold if row.choice == "left-out" else 0, "--max-time", f"{row.minutes:g}m"]
        words += ["--resume"] if (run / "splits.json").is_file() else []
        spent = call_volseg("train", *words, "--data", self.dataset.folder, log=folder / "train.txt")
        split = "unseen_cases" if row.choice == "left-out" else "hold_out"
        names = ["--run", run, "--split", split, "--out", masks, "--data", self.dataset.folder]
        predicting = call_volseg("infer", *names, log=folder / "infer.txt")
        self.score_fold(folder, masks, cases, seconds=(spent, predicting))

    def score_fold(
        self, folder: Path, masks: Path, cases: Mapping[str, str], *, seconds: tuple[float, float]
    ) -> None:
        """Score masks of any tool by `volseg evaluate`, and write the fold's result.

        A scan without a mask is an error: it would leave the mean.
        """
        scores = folder / "scores"
        words = [masks, "--data", self.dataset.folder, "--out", scores]
        call_volseg("evaluate", *words, log=folder / "evaluate.txt")
        found = score_files.read(scores)
        if lacking := {*cases} - {*found}:
            raise SystemExit(f"{masks}: no masks of {', '.join(sorted(lacking))}")
        values = {
            scan: {
                name: {metric: finite(of[metric]) for metric in METRICS} for name, of in one.values.items()
            }
            for scan, one in found.items()
        }
        result = FoldResult(
            cases=dict(cases), train_seconds=seconds[0], predict_seconds=seconds[1], scores=values
        )
        write_json(folder / RESULT, result)

    def plan(self, minutes: float, network: str | None) -> tuple[Path, float]:
        """The config that `volseg plan` writes for the time, made once for all folds; the seconds it took."""
        kind = f"-{network}" if network else ""
        file, record = self.out / f"plan-{minutes:g}m{kind}.yaml", self.out / f"plan-{minutes:g}m{kind}.txt"
        words = ["--data", self.dataset.folder, "--max-time", f"{minutes:g}m", "--out", file]
        words += ["--network", network] if network else []
        if not file.is_file():
            spent = call_volseg("plan", *words, log=record)
            record.with_suffix(".seconds").write_text(f"{spent:.1f}\n")
        return file, float(record.with_suffix(".seconds").read_text())

    def table(self) -> Iterator[str]:
        """A Markdown table: a row each, mean Dice and HD95 of all left-out scans, by class and by fold."""
        classes = self.dataset.classes
        folds = " | ".join(f"fold {fold}" for fold in range(FOLDS))
        yield f"| row | minutes | scans | Dice | {' | '.join(classes)} | HD95 mm | {folds} | planning s |"
        yield "|---" * (6 + len(classes) + FOLDS) + "|"
        for folder in sorted(path.parent for path in self.out.glob(f"*/{ROW}")):
            row = read_json(folder / ROW, Row)
            done = {fold: folder / f"fold{fold}" / RESULT for fold in range(FOLDS)}
            results = {fold: read_json(path, FoldResult) for fold, path in done.items() if path.is_file()}
            if results:
                yield table_row(row, results, classes)


def table_row(row: Row, results: Mapping[int, FoldResult], classes: Sequence[str]) -> str:
    """A row's means; distances that are infinite, as one of the masks is empty, are counted beside."""
    together = list(results.values())
    dice, hd95 = (values_by_case(together, classes, metric) for metric in METRICS)
    rows = np.concatenate([*dice.values()])
    missed = sum(
        values[name]["HD95"] is None and values[name]["Dice"] is not None
        for result in together
        for values in result.scores.values()
        for name in classes
    )
    by_fold = [
        f"{bootstrap.mean(values_by_case([results[fold]], classes, 'Dice')).mean:.3f}"
        if fold in results
        else ""
        for fold in range(FOLDS)
    ]
    cells = [
        f"{row.name} ({row.choice})",
        f"{row.minutes:g}",
        str(len(rows)),
        f"{bootstrap.mean(dice).to_text()}",
        *(f"{one:.3f}" for one in np.nanmean(rows, axis=0)),
        f"{bootstrap.mean(hd95).to_text(1)}" + (f", {missed} infinite" if missed else ""),
        *by_fold,
        f"{row.plan_seconds:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def values_by_case(
    results: Sequence[FoldResult], classes: Sequence[str], metric: str
) -> dict[str, list[list[float]]]:
    """By case, a row a scan with a column a class; NaN where there is nothing to measure."""
    found: dict[str, list[list[float]]] = {}
    for result in results:
        for scan, case in result.cases.items():
            values = [result.scores[scan][name][metric] for name in classes]
            found.setdefault(case, []).append([math.nan if one is None else one for one in values])
    return found


def finite(value: float) -> float | None:
    """The value, or None for NaN and infinity, which JSON lacks."""
    return value if math.isfinite(value) else None


def call_volseg(*words: object, log: Path) -> float:
    """Run a command, its output added to a file; the seconds that it took.

    A command that fails ends the benchmark with the last lines of its output.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    with log.open("a") as file:
        command = [sys.executable, "-m", "volseg", *map(str, words)]
        done = subprocess.run(command, stdout=file, stderr=file, check=False)
    if done.returncode:
        raise SystemExit("\n".join([f"{' '.join(command)} failed:", *log.read_text().splitlines()[-15:]]))
    return time.monotonic() - start


def begin_row(benchmark: Benchmark, row: Row) -> Row:
    """Write what the row's folds have in common; a row that is there must be the same."""
    file = benchmark.out / row.name / ROW
    if file.is_file():
        known = read_json(file, Row)
        if known.model_copy(update={"plan_seconds": row.plan_seconds}) != row:
            raise SystemExit(f"{file}: is a row of other settings; give this one another --name")
        return known
    write_json(file, row)
    return row


def bound_threads(threads: int) -> None:
    """Keep this process and all it starts to so many cores and threads."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    os.environ["OMP_NUM_THREADS"] = str(threads)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("settings", nargs="*", default=[], metavar="section.key=value")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--network", help="what `volseg plan` plans, without --config")
    parser.add_argument("--choice", choices=("last", "inner", "left-out"), default="last")
    parser.add_argument("--name")
    parser.add_argument("--folds", type=int, nargs="+", default=[*range(FOLDS)])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", action="store_true")
    nnunet_folds.add_options(parser)
    return parser.parse_intermixed_args()  # settings may come behind options


def run_volseg(given: argparse.Namespace, benchmark: Benchmark) -> None:
    """The folds of a row by volseg that are not done."""
    config, seconds = given.config, 0.0
    if config is None:
        config, seconds = benchmark.plan(given.minutes, given.network)
    name = given.name or f"{config.stem}-{given.choice}-{given.minutes:g}m-{given.seed}"
    row = Row(
        name=name,
        choice=given.choice,
        minutes=given.minutes,
        seed=given.seed,
        threads=given.threads,
        settings=tuple(given.settings),
        plan_seconds=seconds,
    )
    row = begin_row(benchmark, row)
    used = benchmark.out / name / "config.yaml"
    if not used.is_file():
        shutil.copyfile(config, used)
    for fold in given.folds:
        if not (benchmark.out / name / f"fold{fold}" / RESULT).is_file():
            benchmark.train_fold(row, used, fold)
            print(f"{name}: fold {fold} is done", file=sys.stderr, flush=True)


def run_nnunet(given: argparse.Namespace, benchmark: Benchmark) -> None:
    """The folds of nnU-Net that are not done."""
    name = given.name or f"nnunet-{given.configuration}-{given.minutes:g}m"
    parts = {fold: benchmark.left_out(fold) for fold in range(FOLDS)}
    tool = NnUnet.prepare(given, benchmark.dataset, benchmark.out, [[*parts[fold]] for fold in parts])
    settings = (f"{given.configuration}, {given.planned_gb:g} GB", tool.version)
    row = Row(
        name=name, choice="last", minutes=given.minutes, seed=0, threads=given.threads, settings=settings,
        plan_seconds=tool.plan_seconds,
    )  # fmt: skip
    begin_row(benchmark, row)
    for fold in given.folds:
        folder = benchmark.out / name / f"fold{fold}"
        if not (folder / RESULT).is_file():
            masks, seconds = tool.train_fold(fold, given.minutes, folder)
            benchmark.score_fold(folder, masks, parts[fold], seconds=seconds)
            print(f"{name}: fold {fold} is done", file=sys.stderr, flush=True)


def main() -> None:
    given = arguments()
    bound_threads(given.threads)
    try:
        dataset = Dataset.load(given.data.resolve())
    except UserError as error:
        raise SystemExit(str(error)) from error
    benchmark = Benchmark(dataset, (given.out or Path("runs/folds") / dataset.facts.name).resolve())
    if not given.table:
        (run_nnunet if given.nnunet else run_volseg)(given, benchmark)
    print("\n".join(benchmark.table()))


if __name__ == "__main__":
    main()
