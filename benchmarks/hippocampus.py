"""Dice of the hippocampus config after 5, 10 and 30 minutes of training, a run for each.

    .venv/bin/python benchmarks/hippocampus.py PREPARED [--minutes 5 10 30] [--out runs/hippocampus-minutes]

PREPARED is the Decathlon's Task04 as `volseg prepare --layout nifti` leaves it. The runs train on fold 0;
the Dice is that of its unseen cases, whole scans on the native grid, and of the kept weights. A run that is
there is not trained again.
"""

import argparse
import csv
import subprocess
import sys
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prepared", type=Path)
    parser.add_argument("--minutes", type=int, nargs="+", default=[5, 10, 30])
    parser.add_argument("--config", default="configs/hippocampus.yaml")
    parser.add_argument("--out", type=Path, default=Path("runs/hippocampus-minutes"))
    given = parser.parse_args()
    print(f"{'minutes':>8}{'steps':>8}{'steps/s':>9}{'waiting':>9}  Dice of the kept weights")
    for minutes in given.minutes:
        run = given.out.resolve() / str(minutes)
        if not run.is_dir():
            words = ["train", given.config, "--data", given.prepared, "--run", run]
            command = [sys.executable, "-m", "volseg", *map(str, words), f"--max-time={minutes}m"]
            subprocess.run(command, check=True)
        tell(minutes, run / "metrics.csv")


def tell(minutes: int, metrics: Path) -> None:
    rows = list(csv.DictReader(metrics.read_text().splitlines()))
    best = max(rows, key=lambda row: float(row["score"]))
    waited = sum(float(r["waiting"]) for r in rows) / len(rows)
    rate = sum(float(r["steps_per_second"]) for r in rows) / len(rows)
    classes = {k: v for k, v in best.items() if k.startswith("unseen_cases_")}
    told = ", ".join(f"{k.removeprefix('unseen_cases_')} {float(v):.4f}" for k, v in classes.items())
    print(
        f"{minutes:8}{rows[-1]['step']:>8}{rate:9.2f}{waited:9.2%}  {float(best['score']):.4f} ({told})",
        flush=True,
    )


if __name__ == "__main__":
    main()
