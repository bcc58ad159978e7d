"""3D, 2.5D and both fused, with and without a gate, with and without a teacher, after equal minutes.

    .venv/bin/python benchmarks/phantom_networks.py --minutes 10 [--cases 8] [--seeds 0 1 2]

A seed draws a phantom dataset of 16 (--cases) patients, on which all is trained, as many new patients, on
whom all is scored, and first weights. Each network learns from all patients for the minutes and keeps its
last weights, so nothing is chosen. A teacher's maps are those of five folds of the 3D network, each of which
has the minutes too and maps only patients that it has not seen; that time is not the students'. The gate of a
row is the network of the other kind, of 3D and 2.5D together the 2.5D one.

Rows are compared over the patients of all seeds, with 95 % intervals; the differences are to the 3D network
alone. What is done is not done again.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from abdomen import bound_threads, call_volseg

from volseg.evaluation import bootstrap, score_files
from volseg.evaluation.scan_scores import ScanScores
from volseg.evaluation.summary import summarise_scans
from volseg.runs.folds import NAMES

NEW = 1000
"""Added to a seed, it is that of the new patients."""
COMMON = ("data.split=none", "data.hold_out=[]", "train.steps=1000000", "train.epoch_steps=null")
KINDS: Mapping[str, tuple[str, ...]] = {
    "3D": (),
    "2.5D": ("network={name: unet25d, backbone: efficientnet-b0}", "optimizer.lr=1e-3"),
}
"""The settings of each kind beside those of configs/demo.yaml."""


@dataclass(frozen=True)
class Row:
    """What predicts: runs that are averaged, and the run that empties slices (none)."""

    name: str
    runs: tuple[str, ...]
    gate: str | None = None


def rows() -> Iterator[Row]:
    """All rows, those without a teacher first."""
    for taught in ("", " taught"):
        for name, kinds in (("3D", ("3D",)), ("2.5D", ("2.5D",)), ("3D and 2.5D", ("3D", "2.5D"))):
            runs = tuple(f"{kind}{taught}" for kind in kinds)
            yield Row(f"{name}{taught}", runs)
            yield Row(f"{name}{taught}, gate", runs, gate=f"{'3D' if name == '2.5D' else '2.5D'}{taught}")


@dataclass(frozen=True)
class Phantom:
    """The datasets and runs of a seed."""

    folder: Path
    seed: int
    minutes: float
    cases: int

    def prepare(self) -> None:
        """Draw the patients to learn from and the new ones."""
        for name, seed in (("old", self.seed), ("new", self.seed + NEW)):
            if not (self.data(name) / "dataset.json").is_file():
                raw = self.folder / f"{name}-raw"
                if not (raw / "train.csv").is_file():
                    self.call("phantom", raw, "--seed", seed, "--cases", self.cases, done="")
                self.call("prepare", raw, "--out", self.data(name), done="")

    def data(self, name: str) -> Path:
        """The prepared dataset of the patients of this name."""
        return self.folder / name

    def train(self, kind: str, *, taught: bool) -> None:
        """Train a network of a kind on all patients."""
        run = self.folder / "runs" / f"{kind}{' taught' * taught}"
        settings = [*KINDS[kind], *COMMON, f"train.seed={self.seed}"]
        settings += [f"train.teacher={self.folder / 'teacher'}"] if taught else []
        words = [*settings, "--run", run, "--max-time", f"{self.minutes:g}m", "--data", self.data("old")]
        words += ["--resume"] if (run / "splits.json").is_file() else []
        self.call("train", "configs/demo.yaml", *words, done=f"train-{run.name}")

    def teach(self) -> None:
        """Train five folds, and map the patients that each has not seen."""
        run = self.folder / "runs" / "five"
        settings = [*COMMON[1:], "data.split=folds", f"train.seed={self.seed}", "--fold", "each"]
        words = [*settings, "--run", run, "--max-time", f"{self.minutes:g}m", "--data", self.data("old")]
        words += ["--resume"] if (run / NAMES[0]).is_dir() else []
        self.call("train", "configs/demo.yaml", *words, done="train-five")
        for name in NAMES:
            words = ["--run", run / name, "--split", "unseen_cases", "--save-probabilities"]
            self.call("infer", *words, "--data", self.data("old"), "--out", self.folder / "teacher",
                      done=f"teach-{name}")  # fmt: skip

    def score(self, row: Row) -> list[ScanScores]:
        """The scores of a row on the new patients, whose names begin with the seed."""
        name = row.name.replace(" ", "-").replace(",", "")
        masks, words = self.folder / "masks" / name, ["--all", "--data", self.data("new")]
        for run in row.runs:
            words += ["--run", self.folder / "runs" / run]
        words += ["--gate", self.folder / "runs" / row.gate] if row.gate else []
        self.call("infer", *words, "--out", masks, done=f"infer-{name}")
        self.call("evaluate", masks, "--data", self.data("new"), done=f"evaluate-{name}")
        found = score_files.read(masks).values()
        return [replace(one, case=f"{self.seed}-{one.case}", scan=f"{self.seed}-{one.scan}") for one in found]

    def call(self, *words: object, done: str) -> None:
        """Run a command, unless its mark says that it is done."""
        mark = self.folder / "done" / done
        if done and mark.is_file():
            return
        print(f"seed {self.seed}: {words[0]} {done}", flush=True)
        call_volseg(*words, log=self.folder / "log.txt")
        if done:
            mark.parent.mkdir(exist_ok=True)
            mark.write_text("")


def dice_by_case(scans: Sequence[ScanScores]) -> dict[str, list[list[float]]]:
    """By case a row a scan, a column a class."""
    found: dict[str, list[list[float]]] = {}
    for scan in scans:
        found.setdefault(scan.case, []).append([of["Dice"] for _, of in sorted(scan.values.items())])
    return found


def table(scores: Mapping[str, Sequence[ScanScores]]) -> Iterator[str]:
    """A Markdown table of all rows."""
    yield "| row | Dice | difference to 3D | competition's score | patients |"
    yield "|---|---|---|---|---|"
    alone = dice_by_case(next(iter(scores.values())))
    for name, scans in scores.items():
        dice = dice_by_case(scans)
        difference = bootstrap.difference(dice, alone).to_text(sign="+")
        kaggle = summarise_scans(name, scans).intervals.kaggle.to_text()
        yield f"| {name} | {bootstrap.mean(dice).to_text()} | {difference} | {kaggle} | {len(dice)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--cases", type=int, default=16)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/phantom-networks"))
    given = parser.parse_args()
    bound_threads(given.threads)
    scores: dict[str, list[ScanScores]] = {}
    for seed in given.seeds:
        folder = given.out.resolve() / f"{given.minutes:g}m-{given.cases}-{seed}"
        one = Phantom(folder, seed, given.minutes, given.cases)
        one.prepare()
        one.teach()
        for kind in KINDS:
            for taught in (False, True):
                one.train(kind, taught=taught)
        for row in rows():
            scores.setdefault(row.name, []).extend(one.score(row))
    print("\n".join(table(scores)))


if __name__ == "__main__":
    main()
