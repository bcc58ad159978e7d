"""The training loop: epochs of steps, each followed by validation and a checkpoint."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from volseg import console
from volseg.errors import ElsewhereError, UserError
from volseg.model.distributed import process_group
from volseg.runs.run import Run
from volseg.runs.run_files import LAST
from volseg.system import signals
from volseg.training.board import Board
from volseg.training.loading.loader import Batch, TrainingPatches, default_workers, load_batches
from volseg.training.loading.workers import user_errors
from volseg.training.state import TrainingState, write_torch_file
from volseg.training.step import NotFiniteError, Stepper
from volseg.training.stopping import StopAgreement, TrainingClock, stop_reason
from volseg.training.validation import Validation

log = logging.getLogger(__name__)
DIVERGED = "diverged.pt"
OnStep = Callable[[int, float], object]
"""Called after each step with the steps that are done and the step's loss."""
OnValidation = Callable[[dict[str, float]], object]
"""Called after each validation with its scores."""


@dataclass(frozen=True)
class Training:
    """The parts of a training, and its hooks, which take no part in it."""

    run: Run
    state: TrainingState
    patches: TrainingPatches
    stepper: Stepper
    validation: Validation
    clock: TrainingClock
    on_step: OnStep = lambda step, loss: None  # noqa: ARG005
    on_validation: OnValidation = lambda scores: None  # noqa: ARG005

    @property
    def stop_reason(self) -> str:
        """Why training is over; empty while it is not."""
        state = self.state
        if state.rows and state.step == state.rows[-1]["step"]:  # its last epoch is validated
            return stop_reason(self.run.config.train, state.step, state.epochs_since_best, self.clock)
        return ""

    @property
    def progress_share(self) -> float:
        """The share of the run that is done: of its steps or of its time, whichever is further."""
        return max(self.state.step / self.run.config.train.steps, self.clock.share_spent())


def train_until_done(training: Training) -> None:
    """Train to the last step, the time limit or an early stop; validate, log and save after each epoch.

    Of several ranks the first writes. Ctrl-C and SIGTERM end training after the current step or scan,
    with everything saved.

    Raises:
        Stopped: by a signal.
        UserError: a loss that is no number, a scan that can't be read, a full disk.
    """
    state, clock = training.state, training.clock
    with signals.deferred_signals() as request, _tensorboard_writer(training) as board:
        agreement = StopAgreement(request, clock)
        try:
            agreement.raise_if_stopped()
            while not training.stop_reason:
                patches = training.patches
                with user_errors(patches.table, patches.scans.names):
                    row = _train_epoch(training, agreement)
                with clock.reserve_time():
                    scores = training.validation.scores(board, state.step, agreement)
                    training.on_validation(scores)
                    _save_epoch(row | scores, training, board)
                    agreement.sync_clock_and_signal()
        except signals.Stopped:
            save_state(training)
            log.info("stopped at step %d, which is saved; go on with --resume", state.step)
            raise
    log.info("%s", training.stop_reason)


def save_state(training: Training) -> None:
    """Write the checkpoint from which a resume goes on."""
    training.state.elapsed = training.clock.seconds_spent()
    if process_group.rank() == 0:
        training.state.save(training.run.folder / LAST)


@contextmanager
def _tensorboard_writer(training: Training) -> Iterator[Board | None]:
    """The TensorBoard writer of the first rank; None on the others."""
    if process_group.rank():
        yield None
        return
    folder = training.run.folder / "tensorboard"
    with Board(folder, first_step=training.state.step + 1) as board:
        yield board


def _train_epoch(training: Training, agreement: StopAgreement) -> dict[str, Any]:
    """Train up to the next validation (after a resume perhaps no step); return the row of metrics.csv."""
    settings, state, clock = training.run.config.train, training.state, training.clock
    until = min(settings.steps, (state.epoch + 1) * settings.epoch_steps)
    began, first, waited = time.monotonic(), state.step, 0.0
    saved = began
    state.network.train()
    batches = _batches(training, until)
    with console.progress_bar("training") as report:
        while state.step < until and not (state.step and clock.is_over()):
            before = time.monotonic()
            batch = next(batches)
            waited += time.monotonic() - before
            rate = training.run.config.optimizer.rate(training.progress_share)
            process_group.seed_other_ranks(settings.seed, state.step)
            state.losses.append(_train_step(training, batch, rate))
            state.step += 1
            training.on_step(state.step, state.losses[-1])
            _report_progress(training, report)
            agreement.raise_if_stopped()
            if time.monotonic() - saved > 60 * settings.checkpoint_minutes:
                save_state(training)
                saved = time.monotonic()
    took = max(time.monotonic() - began, 1e-9)
    return {
        "epoch": math.ceil(state.step / settings.epoch_steps),
        "step": state.step,
        "seconds": round(clock.seconds_spent(), 1),
        "steps_per_second": round((state.step - first) / took, 3),
        "waiting": round(waited / took, 4),
        "lr": f"{state.optimizer.param_groups[0]['lr']:.3e}",
        "loss": round(float(np.mean(state.losses)), 5),
    }


def _batches(training: Training, until: int) -> Iterator[Batch]:
    """This rank's batches from the next step until the end of the epoch."""
    settings = training.run.config.train
    workers = settings.workers
    if workers is None:
        gpu = training.stepper.device.device.type == "cuda"
        workers = default_workers(process_group.rank_cores(), gpu=gpu)
    return load_batches(
        training.patches,
        batch=settings.batch,
        steps=range(training.state.step, until),
        workers=workers,
        rank=process_group.rank(),
        ranks=process_group.world_size(),
    )


def _train_step(training: Training, batch: dict[str, Any], rate: float) -> float:
    try:
        return training.stepper.step(training.state, batch, rate)
    except NotFiniteError as error:
        path = training.run.folder / DIVERGED
        shares = process_group.all_gather({name: batch[name] for name in ("image", "label")})
        tensors = {name: torch.cat([share[name] for share in shares]) for name in shares[0]}
        values = {"step": training.state.step, "rate": rate, **tensors}
        values["network"] = training.state.network.state_dict()
        process_group.on_first_rank(lambda: write_torch_file(values, path))
        if process_group.rank():
            raise ElsewhereError from error
        raise UserError(
            f"step {training.state.step}: {error}; lower optimizer.lr or set train.precision=fp32 "
            f"(the batch and the weights that did it are in {path})"
        ) from error


def _report_progress(training: Training, report: console.ProgressCallback) -> None:
    """Show the progress by steps, or by seconds where the time limit comes first."""
    state, clock, steps = training.state, training.clock, training.run.config.train.steps
    note = f"loss {np.mean(state.losses[-20:]):.3f}"
    if clock.limit and clock.share_spent() > state.step / steps:
        report(round(clock.seconds_spent()), round(clock.limit), f"s, step {state.step}, {note}")
    else:
        report(state.step, steps, note)


def _save_epoch(row: dict[str, Any], training: Training, board: Board | None) -> None:
    """Log an epoch, save the weights if they are the best so far, then the state."""
    run, state = training.run, training.state
    score = row.get("score")
    better = score is None or state.best is None or score > state.best
    if better:
        state.best = score
    state.rows.append(row)
    state.losses.clear()
    if board is None:  # rank 0 writes
        return
    if better:
        run.save_best_weights(state.validated_network)
    run.write_metrics(state.rows)
    save_state(training)
    for key, value in row.items():
        if key not in ("epoch", "step"):
            board.add_scalar(key, float(value), row["step"])
    board.write_events()
    parts = [f"{key} {row[key]:.4f}" for key in ("loss", "unseen_cases", "later_days") if key in row]
    log.info("epoch %d (step %d): %s", row["epoch"], row["step"], ", ".join(parts))
