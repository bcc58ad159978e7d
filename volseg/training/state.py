"""The state of a training, its checkpoint, and the moving average of the weights."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from volseg.errors import UserError
from volseg.system.files import atomic_path


def moving_average(network: nn.Module, decay: float) -> AveragedModel:
    """The exponential moving average of a network's weights and buffers, by `update_parameters`.

    The decay after n updates is at most (1 + n) / (10 + n) (as in TensorFlow's moving averages, Abadi et
    al. 2016), so that the average of a short run forgets its random start.
    """

    @torch.no_grad()
    def follow(averages: Sequence[Tensor], currents: Sequence[Tensor], count: Tensor | int) -> None:
        share = 1 - min(decay, (1 + int(count)) / (10 + int(count)))
        if averages[0].is_floating_point():
            torch._foreach_lerp_(list(averages), list(currents), share)
        else:
            for mean, current in zip(averages, currents, strict=True):
                mean.copy_(current)

    return AveragedModel(network, multi_avg_fn=follow, use_buffers=True)


PLAIN = ("step", "elapsed", "best", "rows", "losses")  # fields of a state that are saved as they are


@dataclass
class TrainingState:
    """All that changes in a training; after `save` and `restore` it goes on bit for bit on a CPU.

    `average` is the moving average of the weights (None: without). `rows` are those of metrics.csv, one
    for each finished epoch; `losses` are of the steps since.
    """

    network: nn.Module
    optimizer: Optimizer
    scaler: Any
    average: AveragedModel | None = None
    step: int = 0
    elapsed: float = 0.0
    best: float | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    @property
    def validated_network(self) -> nn.Module:
        """The network to validate and keep: the average where there is one."""
        network: nn.Module = self.network if self.average is None else self.average.module
        return network

    @property
    def epoch(self) -> int:
        """The number of finished epochs."""
        return int(self.rows[-1]["epoch"]) if self.rows else 0

    @property
    def epochs_since_best(self) -> int:
        """The number of finished epochs since the one with the best score."""
        scores = [row.get("score", -math.inf) for row in self.rows]
        return len(scores) - 1 - scores.index(max(scores)) if scores else 0

    def save(self, path: Path) -> None:
        """Write a checkpoint that `torch.load(weights_only=True)` reads."""
        values = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "random": torch.get_rng_state(),
            "random_cuda": [torch.cuda.get_rng_state()] if torch.cuda.is_available() else [],
            **{name: getattr(self, name) for name in PLAIN},
        }
        write_torch_file(values, path)

    def restore(self, path: Path) -> None:
        """Read a checkpoint.

        Raises:
            UserError: missing or damaged.
        """
        if not path.is_file():
            raise UserError(f"{path.parent}: nothing to resume, {path.name} is missing; train anew")
        try:
            values = torch.load(path, weights_only=True, map_location="cpu")
            self.network.load_state_dict(values["network"])
            self.optimizer.load_state_dict(values["optimizer"])
            self.scaler.load_state_dict(values["scaler"])
            if self.average:
                self.average.load_state_dict(values["average"])
            torch.set_rng_state(values["random"])
            if torch.cuda.is_available() and values["random_cuda"]:
                torch.cuda.set_rng_state(values["random_cuda"][0])
            for name in PLAIN:
                setattr(self, name, values[name])
        except Exception as error:  # torch raises many kinds for a damaged file
            raise UserError(f"{path}: not a checkpoint of this run ({error})") from error


def write_torch_file(values: dict[str, Any], path: Path) -> None:
    """Write a file for `torch.load`, atomically."""
    file = io.BytesIO()  # torch's own writer hides that the disk is full
    torch.save(values, file)
    with atomic_path(path) as temporary:
        temporary.write_bytes(file.getbuffer())
