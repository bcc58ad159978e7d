"""Is the demo a fluke? Run it with several seeds and print each one's Dice on the held-out case.

.venv/bin/python benchmarks/demo_seeds.py [OUT] [SEED ...]
"""

import json
import os
import platform
import sys
import time
from pathlib import Path

from volseg import demo
from volseg.data import phantom
from volseg.system.hardware import available_cores


def main(out: Path, seeds: list[int]) -> None:
    """Each seed draws other patients and starts from other weights."""
    print(
        f"{platform.machine()}, {available_cores()} cores, {os.uname().sysname}, {time.strftime('%Y-%m-%d')}"
    )
    for seed in seeds:
        began = time.monotonic()
        done = demo.demo(out / str(seed), seed=seed)
        minutes = (time.monotonic() - began) / 60
        summary = json.loads((out / str(seed) / "scores" / "summary.json").read_text())
        by_class = {name: round(summary["mean"][name]["Dice"], 3) for name in phantom.CLASSES}
        print(f"seed {seed}: mean Dice {done.mean_dice:.3f} {by_class} in {minutes:.1f} min", flush=True)


if __name__ == "__main__":
    main(
        Path(sys.argv[1] if len(sys.argv) > 1 else "demo-seeds"), [int(s) for s in sys.argv[2:]] or [0, 1, 2]
    )
