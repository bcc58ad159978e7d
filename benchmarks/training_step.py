"""A training step of each network, as `volseg train` takes it, beside the plain MONAI class in float32.

Both take the step of the same network on the same patches: forward, volseg's loss, backward, clip, AdamW.
They take turns, each round in the other order, so that what else the machine does slows both. Both have the
large pages that volseg asks for; THP_MEM_ALLOC_ENABLE=0 before the command takes them from both.

    python benchmarks/training_step.py                      # all networks, 5 rounds
    python benchmarks/training_step.py swinunetr --rounds 9 --patch 64,64,64 --batch 2
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_

from volseg.model.engines.torch_device import Device
from volseg.model.losses import DiceCE
from volseg.model.losses.levels import loss_of_levels
from volseg.model.networks import Network
from volseg.model.optimizers import AdamW
from volseg.schema import union_members

CLASSES = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", help=f"of {', '.join(union_members(Network))}; none: all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--patch", default="64,64,64", help="voxels")
    options = parser.parse_args()
    best = Device.choose("auto")
    plain = Device(best.device, torch.float32)
    patch = [int(n) for n in options.patch.split(",")]
    print(f"{options.batch} x {patch} on {best}; median of {options.rounds} rounds in turn")
    print(f"{'network':12}{'MONAI fp32, ms':>16}{'volseg, ms':>12}{'ratio':>8}")
    for name in options.networks or union_members(Network):
        image = torch.randn(options.batch, 1, *patch, generator=torch.Generator().manual_seed(0))
        label = (image > 1.3).repeat(1, CLASSES, 1, 1, 1).to(torch.uint8)
        section = union_members(Network)[name]()
        ours = _step(
            best.place_network(section.build(1, CLASSES)), best.send_batch(image), label, device=best
        )
        theirs = _step(
            _plain(section.build(1, CLASSES)).to(best.device), image.to(best.device), label, device=plain
        )
        seconds = _in_turn([theirs, ours], options.rounds)
        ratio = seconds[1] / seconds[0]
        print(f"{name:12}{1000 * seconds[0]:16.0f}{1000 * seconds[1]:12.0f}{ratio:8.2f}", flush=True)


def _plain(network: nn.Module) -> nn.Module:
    """The network as MONAI makes it: our modules turned back into those they derive from, if any."""
    for module in network.modules():
        base = type(module).__base__
        if type(module).__module__.startswith("volseg.") and base is not nn.Module:
            module.__class__ = base
    return network


def _step(
    network: nn.Module, image: torch.Tensor, label: torch.Tensor, *, device: Device
) -> Callable[[], None]:
    """A function that takes one step."""
    optimizer, label = AdamW().build(network.parameters()), label.to(device.device)

    def step() -> None:
        with device.autocast():
            outputs = network(image)
        value = loss_of_levels(DiceCE(), outputs, label, exclusive=False)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        clip_grad_norm_(network.parameters(), 12.0)
        optimizer.step()
        value.item()

    return step


def _in_turn(steps: list[Callable[[], None]], rounds: int) -> list[float]:
    """The median seconds of each step after one that doesn't count."""
    seconds: list[list[float]] = [[] for _ in steps]
    for turn in range(rounds + 1):
        for which in range(len(steps)) if turn % 2 else reversed(range(len(steps))):
            start = time.perf_counter()
            steps[which]()
            seconds[which].append(time.perf_counter() - start)
    return [median(one[1:]) for one in seconds]


if __name__ == "__main__":
    main()
