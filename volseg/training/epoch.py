"""An epoch, the steps up to a validation: its row of metrics.csv, its files and its line in the log."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from volseg.runs.run import Run
from volseg.runs.run_files import VALIDATION
from volseg.training.board import Board
from volseg.training.selection import SELECTIONS
from volseg.training.state import TrainingState
from volseg.training.validation_schedule import SHARE
from volseg.visualization.overlay import Picture

log = logging.getLogger(__name__)
WAITING = 0.1
"""The largest share of its time that a GPU should wait for patches."""


@dataclass(frozen=True)
class EpochTimes:
    """The first step of an epoch, the seconds of its steps, and those of them spent waiting for patches."""

    first: int
    seconds: float
    waited: float


@dataclass(frozen=True)
class Epoch:
    """The row of an epoch whose scores are not there yet, the seconds of its steps and their number."""

    row: dict[str, Any]
    seconds: float
    losses: int

    @classmethod
    def at_step(cls, state: TrainingState, times: EpochTimes, elapsed: float) -> "Epoch":
        """The epoch that ends with the present step, `elapsed` seconds after the run began."""
        took = max(times.seconds, 1e-9)
        row = {
            "epoch": state.epoch + 1,
            "step": state.step,
            "seconds": round(elapsed, 1),
            "steps_per_second": round((state.step - times.first) / took, 3),
            "waiting": round(times.waited / took, 4),
            "validating": 0.0,
            "lr": f"{state.optimizer.param_groups[0]['lr']:.3e}",
            "loss": round(state.mean_loss(), 5),
        }
        return cls(row, took, len(state.losses))

    @property
    def step(self) -> int:
        """Its last step."""
        return int(self.row["step"])

    def with_scores(self, scores: Mapping[str, float], stood_still: float) -> dict[str, Any]:
        """The whole row; `stood_still` are the seconds in which training waited for the scores."""
        return {**self.row, "validating": round(stood_still / (self.seconds + stood_still), 4), **scores}


@dataclass
class EpochWriter:
    """Writes what an epoch leaves in a run: weights if they are the best so far, metrics, TensorBoard.

    Of several ranks the first writes; the others have no board. `gpu`: training should hardly ever wait.
    """

    run: Run
    board: Board | None
    gpu: bool
    _told: set[str] = field(default_factory=set)

    def write(
        self, state: TrainingState, row: dict[str, Any], network: nn.Module, pictures: Mapping[str, Picture]
    ) -> None:
        """Enter a row, with the network that was validated, into the state; write and log it."""
        score = row.get("score")
        better = score is None or state.best is None or score > state.best
        if better:
            state.best = score
        state.rows.append(row)
        if self.board is None:
            return
        if better:
            self.run.save_best_weights(network)
        self.run.write_metrics(state.rows)
        for key, value in row.items():
            if key not in ("epoch", "step"):
                self.board.add_scalar(key, float(value), row["step"])
        for name, picture in pictures.items():
            self.board.add_picture(name, picture, row["step"])
        parts = [f"{name} {row[key]:.4f}" for key, name in self._logged_columns.items() if key in row]
        shares = [f"{key} {row[key]:.0%} of the time" for key in ("waiting", "validating")]
        log.info("epoch %d (step %d): %s", row["epoch"], row["step"], ", ".join([*parts, *shares]))
        self._warn(row)

    @property
    def _logged_columns(self) -> dict[str, str]:
        """Columns and their names: the loss, Dice by set, and what chooses the weights if that isn't Dice."""
        select = self.run.config.train.select
        dice, title = SELECTIONS["dice"].title, SELECTIONS[select].title
        by_dice: dict[str, str] = {name: f"{dice} of {name}" for name in VALIDATION}
        chosen_by = {f"{select}_{name}": f"{title} of {name}" for name in VALIDATION}
        return {"loss": "loss"} | by_dice | chosen_by

    def write_events(self) -> None:
        """Write what was added for TensorBoard, once the run's own files are."""
        if self.board is not None:
            self.board.write_events()

    def _warn(self, row: Mapping[str, Any]) -> None:
        """Tell once what keeps training from its work, and the way out."""
        epoch_steps = self.run.config.train.epoch_steps
        if self.gpu and row["waiting"] > WAITING:
            self._warn_once(
                "waiting",
                f"the GPU waits for patches {row['waiting']:.0%} of the time; raise train.workers if cores "
                "are free, or end what else uses them",
            )
        if epoch_steps and row["step"] % epoch_steps == 0 and row["validating"] > SHARE:
            self._warn_once(
                "validating",
                f"validation takes {row['validating']:.0%} of the time; start runs with more steps than "
                f"train.epoch_steps={epoch_steps}, or with null, which keeps it below {SHARE:.0%}",
            )

    def _warn_once(self, key: str, text: str) -> None:
        if key not in self._told:
            self._told.add(key)
            log.warning("%s", text)
