"""How long may one thread spin while it waits for another? Seconds for 40 training steps.

With all cores to itself, and with as many other programs at work as there are cores, as on a shared
workstation.

    .venv/bin/python benchmarks/waiting_threads.py
"""

import os
import statistics
import subprocess
import sys
import time
from itertools import product

from volseg.system.hardware import available_cores

STEPS, REPEATS = 40, 3
SPINS = {
    "GNU's default": {},
    "1000 (volseg)": {"GOMP_SPINCOUNT": "1000"},
    "none": {"OMP_WAIT_POLICY": "PASSIVE"},
}
BUSY = [sys.executable, "-c", "while True: pass"]


def train() -> float:
    """The demo's network on noise; imports and the first steps are not counted."""
    import torch

    from volseg.model.engines.torch_device import Device
    from volseg.model.losses import DiceCE
    from volseg.model.networks import UNet
    from volseg.model.optimizers import AdamW

    device = Device.choose("auto")
    network = device.place_network(UNet(channels=(16, 32, 64, 128), res_units=1).build(1, 3))
    optimizer = AdamW().build(network.parameters())
    patch = device.send_batch(torch.randn(2, 1, 64, 64, 32))
    labels = (torch.rand(2, 3, 64, 64, 32) > 0.9).byte()
    for step in range(STEPS + 5):
        if step == 5:
            began = time.monotonic()
        with device.autocast():
            logits = network(patch)
        optimizer.zero_grad()
        DiceCE()(logits, labels, exclusive=False).backward()
        optimizer.step()
    return time.monotonic() - began


def main() -> None:
    """Every setting in turn, so that what else the machine does hits them alike."""
    seconds: dict[tuple[bool, str], list[float]] = {}
    for _, busy, (name, setting) in product(range(REPEATS), (False, True), SPINS.items()):
        others = [subprocess.Popen(BUSY) for _ in range(available_cores() if busy else 0)]
        try:
            told = subprocess.run(
                [sys.executable, __file__, "--one"],
                env={**os.environ, **setting}, capture_output=True, text=True, check=True,
            )  # fmt: skip
        finally:
            for other in others:
                other.kill()
        seconds.setdefault((busy, name), []).append(float(told.stdout))
    for (busy, name), times in seconds.items():
        where = "busy machine" if busy else "idle machine"
        print(f"{where:14} {name:14} {statistics.median(times):6.1f} s")


if __name__ == "__main__":
    print(train()) if "--one" in sys.argv else main()
