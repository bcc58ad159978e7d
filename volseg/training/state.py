"""The state of a training, and its checkpoint."""

import io
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from volseg.errors import UserError
from volseg.model.engines.device_errors import is_out_of_memory
from volseg.system.files import atomic_path
from volseg.training.loss_scale import LossScale
from volseg.training.moving_average import MovingAverage

PLAIN = ("step", "elapsed", "best", "rows", "losses")  # fields of a state that are saved as they are
LATER = ("validation_seconds",)  # the same, but earlier versions did not write them


@dataclass
class TrainingState:
    """All that changes in a training; after `save` and `restore` it goes on bit for bit on a CPU.

    `average` is the moving average of the weights (None: without). `rows` are those of metrics.csv, one
    for each finished epoch; `losses` are of the steps since. `validation_seconds` is how long each
    validation took, its files included.
    """

    network: nn.Module
    optimizer: Optimizer
    loss_scale: LossScale
    average: MovingAverage | None = None
    step: int = 0
    elapsed: float = 0.0
    best: float | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    validation_seconds: list[float] = field(default_factory=list)

    @property
    def validated_network(self) -> nn.Module:
        """The network to validate and keep: the average where there is one."""
        network: nn.Module = self.network if self.average is None else self.average.module
        return network

    @property
    def epoch(self) -> int:
        """The number of finished epochs, each of which was validated."""
        return int(self.rows[-1]["epoch"]) if self.rows else 0

    @property
    def validated_step(self) -> int:
        """The last step of the last finished epoch; 0 before."""
        return int(self.rows[-1]["step"]) if self.rows else 0

    @property
    def epochs_since_best(self) -> int:
        """The number of finished epochs since the one with the best score."""
        scores = [row.get("score", -math.inf) for row in self.rows]
        return len(scores) - 1 - scores.index(max(scores)) if scores else 0

    def mean_loss(self, latest: int = 0) -> float:
        """The mean loss of the epoch so far, or of the latest steps of it.

        Steps that float16 skipped as their loss was infinite are left out; NaN where no others are.
        """
        finite = [loss for loss in self.losses[-latest:] if math.isfinite(loss)]
        return sum(finite) / len(finite) if finite else math.nan

    def save(self, path: Path) -> None:
        """Write a checkpoint that `torch.load(weights_only=True)` reads."""
        values = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.loss_scale.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "random": torch.get_rng_state(),
            "random_cuda": [torch.cuda.get_rng_state()] if _is_cuda_in_use() else [],
            **{name: getattr(self, name) for name in (*PLAIN, *LATER)},
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
            _lay_out_like_weights(self.optimizer)
            self.loss_scale.load_state_dict(values["scaler"])
            if self.average:
                self.average.load_state_dict(values["average"])
            torch.set_rng_state(values["random"])
            if _is_cuda_in_use() and values["random_cuda"]:
                torch.cuda.set_rng_state(values["random_cuda"][0])
            for name in PLAIN:
                setattr(self, name, values[name])
            for name in LATER:
                setattr(self, name, values.get(name, getattr(self, name)))
        except Exception as error:  # torch raises many kinds for a damaged file
            if is_out_of_memory(error):
                raise
            raise UserError(f"{path}: not a checkpoint of this run ({error})") from error


def _lay_out_like_weights(optimizer: Optimizer) -> None:
    """Lay out an optimizer's means in memory as the weights, which lie otherwise on another device.

    Fused optimizers go through the memory of all of them alike: on a CPU unchecked, on a GPU else refused.
    """
    for weight, means in optimizer.state.items():
        for name, mean in means.items():
            if mean.shape == weight.shape:
                means[name] = torch.empty_like(weight).copy_(mean)


def _is_cuda_in_use() -> bool:
    """Whether this process computes on a GPU; to ask for its random state would begin to."""
    in_use: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return in_use


def write_torch_file(values: dict[str, Any], path: Path) -> None:
    """Write a file for `torch.load`, atomically."""
    file = io.BytesIO()  # torch's own writer hides that the disk is full
    torch.save(values, file)
    with atomic_path(path) as temporary:
        temporary.write_bytes(file.getbuffer())
