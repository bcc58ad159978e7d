"""What a cohort on Ray costs beside processes of one machine, and what is left when something is killed.

    python -m benchmarks.cohort overhead [--scans 200]      two workers of a core each: two shards, and Ray
    python -m benchmarks.cohort kills [--seeds 20]          an actor, a raylet or the driver, at random

The scans are tiny, so that all but the network shows. Ray's nodes are on the loopback of this machine; its
start is told apart. Bind all to one core (taskset) where the machine does other work: both share it then.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from tests import tiny
from tests.cohort.conftest import NODE, VARIABLES, TwoNodes
from tests.cohort.killing import VICTIMS, killed_run
from volseg.arguments import TrainArguments
from volseg.inference.prediction_folder import load_predictions
from volseg.training.train import train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("overhead", "kills"))
    parser.add_argument("--scans", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, two_nodes() as nodes:
        folder = Path(name)
        if asked.what == "overhead":
            overhead(folder, asked.scans, asked.rounds)
        else:
            kills(folder, nodes, asked.seeds)


@contextmanager
def two_nodes() -> Iterator[TwoNodes]:
    os.environ.update(VARIABLES)  # which Ray reads when it is loaded
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0})
    try:
        nodes = TwoNodes(cluster)
        os.environ["RAY_ADDRESS"] = nodes.address
        yield nodes
    finally:
        cluster.shutdown()


def prepared(folder: Path, scans: int) -> tuple[str, ...]:
    """The options that name a run and a dataset of so many scans."""
    data = tiny.write(folder / "prepared", cases=scans // 2, days=2).folder
    settings = tiny.config(train={"steps": 2, "epoch_steps": 2})
    run = train(settings, TrainArguments(data=data, run=folder / "runs/tiny")).run
    return "--all", "--data", str(data), "--run", str(run), "--engine", "torch"


def overhead(folder: Path, scans: int, rounds: int) -> None:
    """The time of a scan while both workers work, and of whole commands, by turns."""
    wanted = prepared(folder, scans)
    for number in range(rounds):
        for name, commands in (
            ("two shards", [["--shard", f"{n}/2"] for n in range(2)]),
            ("Ray", [["--on", "ray"]]),
        ):
            out, events = folder / f"{name}-{number}", folder / f"{name}-{number}.jsonl"
            start = time.monotonic()
            started = [
                subprocess.Popen(
                    [
                        sys.executable,
                        "-m",
                        "volseg",
                        "infer",
                        *wanted,
                        "--out",
                        str(out),
                        "--events",
                        str(events),
                        *one,
                    ],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
                for one in commands
            ]
            assert [one.wait() for one in started] == [0] * len(started)
            whole, each = time.monotonic() - start, 1000 * seconds_a_scan(events)
            loads = {(one.computed.process, one.computed.loads) for one in load_predictions(out)}
            print(f"{name}: {each:.1f} ms a scan, {whole:.1f} s in all, {len(loads)} processes", flush=True)


def seconds_a_scan(events: Path) -> float:
    """Of both workers together, from when the later one has begun: the other loads beside it until then."""
    told = [json.loads(line) for line in events.read_text().splitlines()]
    begun: dict[str, datetime] = {}
    for one in told:
        if one["event"] == "begin":
            begun.setdefault(one["process"], datetime.fromisoformat(one["time"]))
    done = sorted(datetime.fromisoformat(one["time"]) for one in told if one["event"] == "done")
    counted = [time for time in done if time > max(begun.values())]
    return (counted[-1] - counted[0]).total_seconds() / (len(counted) - 1)


def kills(folder: Path, nodes: TwoNodes, seeds: int) -> None:
    """A line for each seed; all scans are done in the end, each once."""
    wanted, bad = prepared(folder, 24)[1:5], 0
    for seed in range(seeds):
        nodes.complete()
        start = time.monotonic()
        watched = killed_run(nodes, wanted, folder / f"out{seed}", seed=seed, scans=24)
        done, twice = watched.look(), [scan for scan, seen in watched.seen.items() if len(seen) > 1]
        seconds = time.monotonic() - start
        bad += done < 24 or bool(twice)
        print(
            f"seed {seed}, {VICTIMS[seed % 3]}: {done} of 24 done, {len(twice)} twice, {seconds:.0f} s",
            flush=True,
        )
    print(f"{seeds - bad} of {seeds} without a loss or repetition")


if __name__ == "__main__":
    main()
