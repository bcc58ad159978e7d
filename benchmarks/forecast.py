"""Is the forecast true? Memory and time that `volseg train --dry-run` tells, against a real training.

    .venv/bin/python benchmarks/forecast.py HIPPOCAMPUS [NAME ...]

HIPPOCAMPUS is the prepared Decathlon set; the phantom of the demo is made. A training of two epochs on
all scans of its fold is watched from outside, 20 times a second: the sum of its processes' proportional
set sizes (what several share is counted once), and its main process's peak as the system counts it.
The larger of both is what was seen. Memory does not depend on what else the machine does; seconds do.
"""

import csv
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml

from volseg.arguments import PrepareArguments
from volseg.config import config
from volseg.config.config import Config
from volseg.data import phantom
from volseg.planning.resource_estimate import estimate_resources
from volseg.preparation.prepare import prepare
from volseg.system.hardware import available_cores

STEPS = 30
"""Of an epoch of the watched training; there are two."""
CONFIGS = {
    "demo": ("phantom", "demo", ()),
    "hippocampus": ("hippocampus", "hippocampus", ()),
    "hippocampus, batch 16": ("hippocampus", "hippocampus", ("train.batch=16",)),
    "larger patch": ("phantom", "demo", ("train.patch=[96,96,64]", "train.batch=4")),
    "dynunet": ("phantom", "demo", ("network={name: dynunet, filters: [16, 32, 64, 128]}",)),
    "segresnet": ("phantom", "demo", ("network=segresnet", "network.filters=8")),
    "swinunetr": (
        "phantom",
        "demo",
        ("network={name: swinunetr, feature_size: 12}", "train.patch=[64,64,64]", "train.batch=1"),
    ),
    "finer grid": ("phantom", "demo", ("data.spacing_mm=[1.5, 1.5, 1.5]",)),
    "4 workers": ("phantom", "demo", ("train.workers=4",)),
}


@dataclass(frozen=True)
class Measured:
    """Peaks in bytes, and the seconds of a step and of the second epoch."""

    main: int
    together: int
    step_seconds: float
    epoch_seconds: float


def main(hippocampus: Path, names: list[str]) -> None:
    """One line a config: forecast, measured, ratio."""
    print(f"{available_cores()} cores, {time.strftime('%Y-%m-%d')}")
    print(
        " " * 24 + "MB: told     seen  ratio together     main  s/step:   seen  ratio  s/epoch:   seen  ratio"
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        phantom.write_phantom(folder / "raw")
        prepare(folder / "raw", options=PrepareArguments(out=folder / "phantom"))
        data = {"phantom": folder / "phantom", "hippocampus": hippocampus}
        for name in names or CONFIGS:
            where, file, overrides = CONFIGS[name]
            course = (f"train.steps={2 * STEPS}", f"train.epoch_steps={STEPS}")
            settings = config.load(Path(f"configs/{file}.yaml"), (*overrides, *course))
            print(line(name, settings, data[where], folder / name.replace(" ", "-")), flush=True)


def line(name: str, settings: Config, data: Path, run: Path) -> str:
    """Forecast a config, train it, and compare."""
    told = estimate_resources(settings, data)
    seen = measured(settings, data, run)
    memory, peak = told.peak_memory, max(seen.main, seen.together)
    step = told.measurements.step_seconds
    return (
        f"{name:24}{memory / 1e6:9.0f}{peak / 1e6:9.0f}{memory / peak:7.2f}"
        f"{seen.together / 1e6:9.0f}{seen.main / 1e6:9.0f}"
        f"{step:9.3f}{seen.step_seconds:9.3f}{step / seen.step_seconds:7.2f}"
        f"{told.epoch_seconds:9.1f}{seen.epoch_seconds:9.1f}"
        f"{told.epoch_seconds / seen.epoch_seconds:7.2f}"
    )


def measured(settings: Config, data: Path, run: Path) -> Measured:
    """Train with the command itself and look on."""
    file = run.with_suffix(".yaml")
    file.write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    words = [sys.executable, "-m", "volseg", "train", file, "--data", data, "--run", run]
    child = psutil.Popen(
        [str(word) for word in words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    highest = {"main": 0, "together": 0}
    while child.poll() is None:
        try:
            status = Path(f"/proc/{child.pid}/status").read_text().splitlines()
            peak = next((one for one in status if one.startswith("VmHWM")), "VmHWM 0 kB")
            processes = (child, *child.children(recursive=True))
            now = {
                "main": int(peak.split()[1]) * 1024,
                "together": sum(one.memory_full_info().pss for one in processes),
            }
            highest = {key: max(highest[key], now[key]) for key in highest}
        except (psutil.Error, OSError):  # a process has just ended
            pass
        time.sleep(0.05)
    if child.returncode:
        raise SystemExit(child.stderr.read())
    first, second = csv.DictReader((run / "metrics.csv").read_text().splitlines())
    return Measured(
        **highest,
        step_seconds=1 / float(second["steps_per_second"]),
        epoch_seconds=float(second["seconds"]) - float(first["seconds"]),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
