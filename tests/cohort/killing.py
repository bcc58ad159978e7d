"""One run of `volseg infer` on a cluster of which something is killed, and another run that goes on."""

import json
import random
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import psutil

from tests.cohort.conftest import TwoNodes

VICTIMS = ("actor", "raylet", "driver")
SLOWLY = ("--overlap", "0.9", "--engine", "torch")


class Watched:
    """The computations that the records of done scans told of at any time, by scan."""

    def __init__(self, out: Path) -> None:
        self.out, self.seen = out, defaultdict[str, set[Any]](set)

    def look(self) -> int:
        """How many scans are done now."""
        done = 0
        for path in self.out.glob("*/record.json"):
            record = json.loads(path.read_bytes())
            if record["status"] == "done":
                done += 1
                self.seen[record["scan"]].add(tuple(record["computed"].values()))
        return done


def begin(wanted: tuple[str, ...], out: Path, *on: str) -> subprocess.Popen:
    """The command, which writes to `out`."""
    command = [sys.executable, "-m", "volseg", "infer", "--all", "--out", str(out), *wanted, *SLOWLY, *on]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def killed_run(nodes: TwoNodes, wanted: tuple[str, ...], out: Path, *, seed: int, scans: int) -> Watched:
    """A run in which a victim is killed after some scans, and one more, which ends well."""
    chance, watched = random.Random(seed), Watched(out)
    victim, after = VICTIMS[seed % 3], chance.randrange(1, scans // 2)
    driver = begin(wanted, out, "--on", "ray")
    while watched.look() < after and driver.poll() is None:
        time.sleep(0.05)
    time.sleep(chance.random() / 5)  # not so long that all is done
    assert driver.poll() is None, driver.communicate()
    if victim == "driver":
        driver.kill()
    elif victim == "raylet":
        nodes.kill_node()
    else:
        workers = [one for one in psutil.Process().children(recursive=True) if "Worker" in one.name()]
        chance.choice(workers).kill()
    watch(driver, watched)
    assert driver.returncode == (-9 if victim == "driver" else 0), driver.communicate()
    again = begin(wanted, out, "--on", "ray")
    watch(again, watched)
    assert again.returncode == 0, again.communicate()
    return watched


def watch(driver: subprocess.Popen, watched: Watched) -> None:
    """Look at the records until a command ends."""
    end = time.monotonic() + 120
    while driver.poll() is None and time.monotonic() < end:
        watched.look()
        time.sleep(0.05)
    watched.look()
