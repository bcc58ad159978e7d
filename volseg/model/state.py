"""All that changes while a network trains, and how it is saved and taken up again."""

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from volseg.atomic import replacing
from volseg.errors import UserError


class Clock:
    """The wall-clock time a run has spent, over all its resumes, and what it may spend.

    The time that the last validation and checkpoint took is kept back for the next ones, so that a
    run with a limit ends within it.
    """

    def __init__(self, limit: float | None, *, before: float = 0.0) -> None:
        self.limit = limit
        self.before = before
        self.started = time.monotonic()
        self.reserve = 0.0

    def spent(self) -> float:
        """Seconds so far."""
        return self.before + time.monotonic() - self.started

    def share(self) -> float:
        """The share of the limit that is spent; 0 without one."""
        return self.spent() / max(self.limit - self.reserve, 1e-9) if self.limit else 0.0

    def over(self) -> bool:
        """Whether training has to end."""
        return self.share() >= 1

    @contextmanager
    def reserving(self) -> Iterator[None]:
        """Keep back as long as the body takes."""
        began = time.monotonic()
        yield
        self.reserve = time.monotonic() - began


@dataclass
class State:
    """All that changes while training; `saved` and `restore` carry a resume, bit for bit on CPU."""

    network: nn.Module
    optimizer: Optimizer
    scaler: Any
    step: int = 0
    elapsed: float = 0.0
    best: float | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write a checkpoint that `torch.load(weights_only=True)` reads."""
        values = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": torch.get_rng_state(),
            "step": self.step,
            "elapsed": self.elapsed,
            "best": self.best,
            "rows": self.rows,
        }
        file = io.BytesIO()  # torch's own writer turns a full disk into a riddle
        torch.save(values, file)
        with replacing(path) as temporary:
            temporary.write_bytes(file.getbuffer())

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
            torch.set_rng_state(values["random"])
            self.step, self.elapsed = values["step"], values["elapsed"]
            self.best, self.rows = values["best"], values["rows"]
        except Exception as error:  # torch raises many kinds for a damaged file
            raise UserError(f"{path}: not a checkpoint of this run ({error})") from error
