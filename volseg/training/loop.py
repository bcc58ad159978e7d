"""The training loop: epochs of steps, each followed by validation and a checkpoint."""

import logging
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager

import torch

from volseg import console
from volseg.errors import ElsewhereError, UserError
from volseg.formatting import format_duration
from volseg.model.distributed import process_group
from volseg.runs.run_files import LAST
from volseg.system import signals
from volseg.training.board import Board
from volseg.training.epoch import EpochTimes, EpochWriter
from volseg.training.loading.device_batches import TENSORS, Batch
from volseg.training.loading.loader import default_threads, load_batches
from volseg.training.state import write_torch_file
from volseg.training.step import NotFiniteError, StepResult
from volseg.training.stopping import StopAgreement
from volseg.training.training import Training
from volseg.training.validation_thread import ValidationThread
from volseg.training.validator import Validator

log = logging.getLogger(__name__)
DIVERGED = "diverged.pt"
PACE_SECONDS = 20.0
"""Seconds of a run's first epoch after which the log tells its pace: a log file shows no progress bar."""


def train_until_done(training: Training) -> None:
    """Train to the last step, the time limit or an early stop; validate, log and save after each epoch.

    Of several ranks the first writes. Ctrl-C and SIGTERM end training after the current step or scan,
    with everything saved.

    Raises:
        Stopped: by a signal.
        UserError: a loss that is no number, a scan that can't be read, a full disk.
    """
    with (
        signals.deferred_signals() as request,
        _tensorboard_writer(training) as board,
        closing(_batches(training)) as batches,
        ValidationThread(training.validation, training.stepper.device.device) as thread,
    ):
        agreement = StopAgreement(request, training.clock)
        writer = EpochWriter(training.run, board, gpu=training.stepper.device.is_cuda)
        validator = Validator(training, agreement, thread, writer, save=lambda: save_state(training))
        try:
            agreement.raise_if_stopped()
            while not training.stop_reason:
                times = _train_epoch(training, batches, validator)
                validator.validate(times, ending=training.is_ending)
        except signals.Stopped:
            save_state(training)
            log.info("stopped at step %d, which is saved; go on with --resume", training.state.step)
            raise
    log.info("%s", training.stop_reason)


def save_state(training: Training) -> None:
    """Write the checkpoint from which a resume goes on, when the last step is done.

    Raises:
        UserError: the last step's loss is no number, or the disk is full.
    """
    _finish_step(training)
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


def _train_epoch(training: Training, batches: Iterator[Batch], validator: Validator) -> EpochTimes:
    """Train up to the next validation (after a resume perhaps no step); return the times of its steps."""
    settings, state, clock = training.run.config.train, training.state, training.clock
    began, first, waited = time.monotonic(), state.step, 0.0
    saved, has_told_pace = clock.seconds_spent(), bool(state.rows)
    state.network.train()
    with console.progress_bar("training") as report:
        while not (training.is_ending or validator.is_due):
            before = time.monotonic()
            batch = next(batches)
            waited += time.monotonic() - before
            rate = training.run.config.optimizer.rate(training.progress_share)
            process_group.seed_other_ranks(settings.seed, state.step)
            _train_step(training, batch, rate)
            state.step += 1
            _report_progress(training, report)
            validator.after_step()
            if not (has_told_pace or training.is_ending) and time.monotonic() - began > PACE_SECONDS:
                _log_pace(training, (time.monotonic() - began) / (state.step - first))
                has_told_pace = True
            if clock.seconds_spent() - saved > 60 * settings.checkpoint_minutes:  # at one step on all ranks
                save_state(training)
                saved = clock.seconds_spent()
    _finish_step(training)
    return EpochTimes(first, seconds=time.monotonic() - began, waited=waited)


def _batches(training: Training) -> Generator[Batch, None, None]:
    """This rank's batches from the next step to the last."""
    settings = training.run.config.train
    device, threads = training.stepper.device, settings.workers
    if threads is None:
        threads = default_threads(process_group.rank_cores(), gpu=device.is_cuda)
    yield from load_batches(
        training.patches,
        batch=settings.batch,
        steps=range(training.state.step, settings.steps),
        threads=threads,
        device=device.device,
        share=(process_group.rank(), process_group.world_size()),
    )


def _train_step(training: Training, batch: Batch, rate: float) -> None:
    """Launch a step, and note the result of the one before."""
    with _diverging_saved(training):
        _note_result(training, training.stepper.step(training.state, batch, rate))


def _finish_step(training: Training) -> None:
    """Wait for the last step, if there was one since, and note its result."""
    with _diverging_saved(training):
        _note_result(training, training.stepper.finish())


def _note_result(training: Training, result: StepResult | None) -> None:
    if result is not None:
        training.state.losses.append(result.loss)
        training.on_step(result.done, result.loss)


@contextmanager
def _diverging_saved(training: Training) -> Iterator[None]:
    """Turn a step whose loss is no number into a user's error, and save what did it."""
    try:
        yield
    except NotFiniteError as error:
        path, step = training.run.folder / DIVERGED, error.step
        values = {"step": step.number, "rate": step.rate, **_whole_batch(step.batch)}
        values["network"] = training.state.network.state_dict()
        process_group.on_first_rank(lambda: write_torch_file(values, path))
        if process_group.rank():
            raise ElsewhereError from error
        other = "bf16 or train.precision=fp32" if error.low_scale else "fp32"
        raise UserError(
            f"step {step.number}: {error}; lower optimizer.lr or set train.precision={other} "
            f"(the batch and the weights that did it are in {path})"
        ) from error


def _whole_batch(own: Batch) -> Batch:
    """The patches of all ranks and the names of their scans, in the processor's memory."""
    names = [name for name in TENSORS if name in own]
    share = {**{name: own[name].cpu() for name in names}, "name": own["name"]}
    shares = process_group.all_gather(share)
    tensors = {key: torch.cat([share[key] for share in shares]) for key in names}
    return {**tensors, "name": [name for share in shares for name in share["name"]]}


def _log_pace(training: Training, seconds: float) -> None:
    """Log the seconds of a step, and when the run will end by its steps or its limit of time."""
    state, clock, steps = training.state, training.clock, training.run.config.train.steps
    left = seconds * (steps - state.step)
    end = f"the other {steps - state.step} steps take about {format_duration(left)}"
    if clock.limit and clock.limit - clock.seconds_spent() < left:
        end = f"--max-time ends training in about {format_duration(clock.limit - clock.seconds_spent())}"
    log.info("%.2g s a step: %s, validation apart", seconds, end)


def _report_progress(training: Training, report: console.ProgressCallback) -> None:
    """Show the progress by steps, or by seconds where the time limit comes first."""
    state, clock, steps = training.state, training.clock, training.run.config.train.steps
    note = f"loss {state.mean_loss(latest=20):.3f}" if state.losses else ""
    if clock.limit and clock.share_spent() > state.step / steps:
        report(round(clock.seconds_spent()), round(clock.limit), f"s, step {state.step}, {note}")
    else:
        report(state.step, steps, note)
