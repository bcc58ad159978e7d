"""All that changes while a network trains, and how it is saved and taken up again."""

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
    """A copy that follows `network` with each `update_parameters`, buffers included.

    At first it follows faster, by (1 + n) / (10 + n) after n updates (as in Abadi et al. 2016,
    TensorFlow's moving averages), so that a short run's average does not remember its random start.
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


PLAIN = ("step", "elapsed", "best", "rows", "losses")
"""What of a State is neither weights nor a random state."""


@dataclass
class TrainingState:
    """All that changes while training; `save` and `restore` carry a resume, bit for bit on CPU.

    `average` follows the weights (None: it is not wanted). `rows` are those of metrics.csv, one an
    epoch that is done; `losses` are of the steps since.
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
        """The network that is validated and kept: the averaged one where there is one."""
        shown: nn.Module = self.network if self.average is None else self.average.module
        return shown

    @property
    def epoch(self) -> int:
        """The epochs that are done."""
        return int(self.rows[-1]["epoch"]) if self.rows else 0

    @property
    def epochs_since_best(self) -> int:
        """The epochs that are done since the one with the best score."""
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
        """Take up a checkpoint.

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
    file = io.BytesIO()  # torch's own writer turns a full disk into a riddle
    torch.save(values, file)
    with atomic_path(path) as temporary:
        temporary.write_bytes(file.getbuffer())
