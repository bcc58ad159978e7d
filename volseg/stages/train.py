"""`volseg train`: from a config and a prepared dataset to a run."""

import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.nn.utils import clip_grad_norm_
from torch.utils.tensorboard import SummaryWriter

from volseg import console
from volseg.config import Config
from volseg.data.batches import Patches, default_workers, loader
from volseg.data.cache import Scans
from volseg.data.dataset import Dataset
from volseg.data.folds import Split, split
from volseg.data.transforms import augmentation
from volseg.data.workers import user_errors
from volseg.errors import UserError
from volseg.masks.postprocess import unknown_classes
from volseg.model.device import Device
from volseg.model.networks import expect_rare
from volseg.model.state import Clock, State
from volseg.runs import BEST, LAST, Facts, Run
from volseg.stages.validation import Validation

log = logging.getLogger(__name__)
Fold = int | Literal["all"]


@dataclass(frozen=True)
class Options:
    """Where a run reads and writes, and how long it may take."""

    data: Path
    run: Path
    fold: Fold = 0
    resume: bool = False
    max_seconds: float | None = None


@dataclass(frozen=True)
class Trained:
    """The run, the steps it took, and the score that chose its best weights (None: no validation)."""

    run: Path
    steps: int
    best: float | None
    seconds: float


def train(config: Config, options: Options) -> Trained:
    """Train a network; validate and save after each epoch; leave the best weights in the run.

    Raises:
        UserError: a dataset, split or run that doesn't fit.
    """
    dataset = Dataset.load(options.data)
    problems = list(unknown_classes(config.postprocess, dataset.classes))
    if problems:
        raise UserError.of(problems)
    fold: Fold = "all" if config.data.split == "none" else options.fold
    parts = split(dataset.samples, fold=fold, hold_out=config.data.hold_out)
    dataset.check([one for one in dataset.samples if any(one.name in part for part in parts)])
    run = _open_run(config, options, dataset, fold=fold, parts=parts)
    with console.log_to(run.folder / "log.txt"):
        return _train(run, dataset, parts, options=options)


def _train(run: Run, dataset: Dataset, parts: Split, *, options: Options) -> Trained:
    config = run.config
    _log_excluded(dataset)
    device = Device.best(config.train.precision)
    torch.manual_seed(config.train.seed)
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    state = _fresh_state(run, device)
    begun = any((run.folder / name).is_file() for name in (LAST, BEST))
    if options.resume and begun:  # else it was stopped in its first epoch
        state.restore(run.folder / LAST)
    clock = Clock(options.max_seconds, before=state.elapsed)
    batches = _patches(config, dataset, parts)
    log.info(
        "training %s on %s: %d scans, %d of %d steps done",
        config.network.name,
        device,
        len(parts.train),
        state.step,
        config.train.steps,
    )
    validation = Validation(dataset, parts, run.predictor(state.network, device))
    with SummaryWriter(run.folder / "tensorboard", purge_step=state.step + 1) as board:
        while state.step < config.train.steps and not (state.step and clock.over()):
            with user_errors(batches.table, batches.scans.names):
                row = _epoch(state, batches, run, device=device, clock=clock)
            with clock.reserving():
                row |= validation.scores(board, state.step)
                state.elapsed = clock.spent()
                _keep(row, state, run, board=board)
    if state.step < config.train.steps:
        log.info("the time limit is used up: %.0f of %.0f s", clock.spent(), clock.limit)
    return Trained(run.folder, state.step, state.best, state.elapsed)


def _epoch(
    state: State, patches: Patches, run: Run, *, device: Device, clock: Clock
) -> dict[str, Any]:
    """Train up to the next validation; return the epoch's row of metrics.csv."""
    course, optimizer = run.config.train, run.config.optimizer
    until = min(course.steps, (state.step // course.epoch_steps + 1) * course.epoch_steps)
    workers = course.workers if course.workers is not None else default_workers()
    steps = range(state.step, until)
    batches = loader(patches, batch=course.batch, steps=steps, workers=workers)
    losses: list[float] = []
    state.network.train()
    began, first = time.monotonic(), state.step
    with console.progress("training") as report:
        for batch in batches:
            rate = optimizer.rate(max(state.step / course.steps, clock.share()))
            losses.append(_step(state, batch, run, device=device, rate=rate))
            state.step += 1
            report(state.step, course.steps, f"loss {np.mean(losses[-20:]):.3f}")
            if clock.over():
                break
    return {
        "epoch": math.ceil(state.step / course.epoch_steps),
        "step": state.step,
        "seconds": round(clock.spent(), 1),
        "steps_per_second": round((state.step - first) / (time.monotonic() - began), 3),
        "lr": f"{rate:.3e}",
        "loss": round(float(np.mean(losses)), 5),
    }


def _step(state: State, batch: dict[str, Any], run: Run, *, device: Device, rate: float) -> float:
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    images = device.send(batch["image"])
    labels = batch["label"].to(device.device, non_blocking=True)
    with device.autocast():
        logits = state.network(images)
    loss = run.config.loss(logits, labels, exclusive=run.facts.exclusive)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise _diverged(state, "loss", value)
    state.optimizer.zero_grad(set_to_none=True)
    state.scaler.scale(loss).backward()
    state.scaler.unscale_(state.optimizer)
    norm = clip_grad_norm_(state.network.parameters(), run.config.train.clip)
    if not (state.scaler.is_enabled() or torch.isfinite(norm)):
        raise _diverged(state, "gradient", float(norm))
    state.scaler.step(state.optimizer)
    state.scaler.update()
    return value


def _diverged(state: State, what: str, value: float) -> UserError:
    return UserError(
        f"step {state.step}: the {what} is {value}; lower optimizer.lr or set train.precision=fp32"
    )


def _keep(row: dict[str, Any], state: State, run: Run, *, board: SummaryWriter) -> None:
    """Log an epoch, save the last state, and the weights if they are the best so far."""
    score = row.get("score")
    if score is None or state.best is None or score > state.best:
        state.best = score
        run.save_best(state.network)
    state.rows.append(row)
    run.write_metrics(state.rows)
    state.save(run.folder / LAST)
    for key, value in row.items():
        if key not in ("epoch", "step", "lr"):
            board.add_scalar(key, float(value), row["step"])
    board.add_scalar("lr", float(row["lr"]), row["step"])
    told = [f"{key} {row[key]:.4f}" for key in ("loss", "unseen_cases", "later_days") if key in row]
    log.info("epoch %d (step %d): %s", row["epoch"], row["step"], ", ".join(told))


def _fresh_state(run: Run, device: Device) -> State:
    fresh = run.build()
    expect_rare(fresh, len(run.facts.classes), exclusive=run.facts.exclusive)
    network = device.place(fresh)
    optimizer = run.config.optimizer.build(network.parameters())
    scaler = torch.amp.GradScaler(device.device.type, enabled=device.dtype == torch.float16)
    return State(network, optimizer, scaler)


def _patches(config: Config, dataset: Dataset, parts: Split) -> Patches:
    samples = [sample for sample in dataset.samples if sample.name in parts.train]
    scans = Scans(dataset, samples, config.data)
    log.info("%s", scans.told)
    train = config.train
    vary = augmentation(config.augment, patch=train.patch, foreground=train.foreground)
    return Patches(scans, vary, seed=train.seed)


def _open_run(
    config: Config, options: Options, dataset: Dataset, *, fold: Fold, parts: Split
) -> Run:
    facts = Facts(
        dataset=dataset.facts.name,
        classes=dataset.classes,
        exclusive=dataset.facts.exclusive,
        channels=dataset.facts.channels,
        fold=fold,
        **parts._asdict(),
    )
    if not options.resume:
        if options.run.exists() and any(options.run.iterdir()):
            raise UserError(
                f"{options.run}: exists; pass --resume to go on or --run NAME to start another"
            )
        return Run.create(options.run, config, facts)
    run = Run.open(options.run)
    run.check_classes(dataset.classes, options.data)
    problems = _differences(run.config.model_dump(), config.model_dump())
    if run.facts != facts:
        problems.append("the dataset or fold (splits.json differs)")
    if problems:
        raise UserError(
            f"{options.run}: can't be resumed with other settings: {', '.join(problems)}; "
            "use the same ones or start another with --run NAME"
        )
    return run


def _differences(old: Any, new: Any, place: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = dict.fromkeys([*old, *new])
        below = (_differences(old.get(k), new.get(k), f"{place}.{k}".lstrip(".")) for k in keys)
        return [line for lines in below for line in lines]
    return [] if old == new else [f"{place} ({old} then, {new} now)"]


def _log_excluded(dataset: Dataset) -> None:
    names = [sample.name for sample in dataset.samples if sample.excluded]
    if names:
        log.info("left out, on the data author's list of bad labels: %s", ", ".join(names))
