"""`volseg train`: from a config and a prepared dataset to a run."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from volseg.arguments import Fold, TrainArguments
from volseg.config.config import Config
from volseg.data.dataset import Dataset, Sample
from volseg.data.splits import split_samples
from volseg.errors import UserError
from volseg.formatting import join_names
from volseg.inference.predictor import build_predictor, ensemble_member
from volseg.model.distributed import process_group
from volseg.model.distributed.sync_batch_norm import convert_sync_batch_norm
from volseg.model.engines.torch import TorchNetwork
from volseg.model.engines.torch_device import Device
from volseg.model.networks import init_prior_bias
from volseg.postprocessing import ineffective_steps, unknown_classes
from volseg.runs.locate import has_checkpoint
from volseg.runs.run import Run
from volseg.runs.run_files import LAST, SETS, FileChecksums, RunSplits
from volseg.system.files import read_content_checksum
from volseg.system.locks import folder_lock, is_unused
from volseg.system.log_file import log_to
from volseg.training import fine_tuning, loop
from volseg.training.augmentation.pipeline import build_augmentation
from volseg.training.label_parts import steps_by_labels
from volseg.training.loading.loader import TrainingPatches
from volseg.training.loading.scan_cache import ScanCache
from volseg.training.loop import Training
from volseg.training.pretrained_weights import match_tensors
from volseg.training.state import TrainingState, moving_average
from volseg.training.step import Stepper
from volseg.training.stopping import TrainingClock
from volseg.training.validation import Validation

log = logging.getLogger(__name__)
BUSY = "another `volseg train` is training it; wait for it, or start another with --run NAME"


@dataclass(frozen=True)
class TrainingResult:
    """A run, its steps and seconds, the score of its best weights (None: no validation), and this rank."""

    run: Path
    steps: int
    best: float | None
    seconds: float
    rank: int = 0


def train(config: Config, options: TrainArguments) -> TrainingResult:
    """Train a network; validate and save after each epoch; write the best weights into the run.

    Within torchrun, or a job step of SLURM with several tasks, this process is one of several ranks
    that train together. The result is that of one process up to rounding, but for dropout, which
    each rank draws for itself.

    Raises:
        UserError: a dataset, split or run that doesn't fit.
    """
    with process_group.join_ranks(), ExitStack() as held:
        run, dataset, start = process_group.on_first_rank(
            lambda: _open_run_and_dataset(config, options, held)
        )
        log_file = log_to(run.folder / "log.txt")
        with log_file if process_group.rank() == 0 else nullcontext():
            _log_excluded(dataset)
            training = build_training(run, dataset, options, start)
            loop.train_until_done(training)
            state = training.state
            return TrainingResult(run.folder, state.step, state.best, state.elapsed, process_group.rank())


def load_and_split(config: Config, data: Path, fold: Fold) -> tuple[Dataset, RunSplits]:
    """The dataset, and its scans by set: for training, validation and hold-out.

    Raises:
        UserError: no such dataset, missing files, or a config that doesn't fit the dataset.
    """
    dataset = Dataset.load(data)
    problems = [
        *unknown_classes(config.postprocess, dataset.classes),
        *ineffective_steps(config.postprocess, dataset.classes),
    ]
    if problems:
        raise UserError.from_problems(problems)
    if config.data.split == "none":
        fold = "all"
    parts = split_samples(dataset.samples, fold=fold, hold_out=config.data.hold_out)
    samples = [sample for sample in dataset.samples if any(sample.name in part for part in parts)]
    dataset.check_files(samples)
    facts = RunSplits(
        dataset=dataset.facts.name,
        classes=dataset.classes,
        exclusive=dataset.facts.exclusive,
        channels=dataset.facts.channels,
        fold=fold,
        cases={sample.name: sample.case for sample in samples},
        images={sample.name: sample.image_hash for sample in samples if sample.image_hash},
        files={sample.name: _file_checksums(dataset, sample) for sample in samples},
        slice_mm=dataset.slice_mm,
        **parts._asdict(),
    )
    return dataset, facts


def _file_checksums(dataset: Dataset, sample: Sample) -> FileChecksums:
    """The checksums of a scan's image and labels."""
    labels = (sample.labels or {}).values()
    return FileChecksums(
        image=" ".join(read_content_checksum(dataset.folder / file) for file in sample.images),
        labels=" ".join(read_content_checksum(dataset.folder / file) for file in labels),
    )


def build_training(
    run: Run,
    dataset: Dataset,
    options: TrainArguments = TrainArguments(),
    start: fine_tuning.StartWeights | None = None,
) -> Training:
    """The parts of a training: the network, its scans in memory, and the state, fresh or resumed."""
    config, facts = run.config, run.facts
    device = Device.best_available(config.train.precision)
    torch.manual_seed(config.train.seed)
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    state = _initial_state(run, device, start)
    if options.resume and has_checkpoint(run.folder):  # else it was stopped before its first checkpoint
        state.restore(run.folder / LAST)
    clock = TrainingClock(options.max_seconds, before=state.elapsed)
    patches = cached_patches(run, dataset)
    _log_start(run, state, device)
    stepper = Stepper(
        loss=config.loss,
        exclusive=facts.exclusive,
        device=device,
        clip=config.train.clip,
        parts=process_group.rank_part_sizes(config.train.batch, config.train.accumulate),
        shared=process_group.wrap_distributed(state.network),
    )
    member = ensemble_member(run, TorchNetwork(state.validated_network, device))
    validation = Validation(dataset, facts, build_predictor(run, member))
    return Training(run, state, patches, stepper, validation, clock)


def cached_patches(run: Run, dataset: Dataset) -> TrainingPatches:
    """The sequence of training patches, with the scans in the cache.

    Raises:
        UserError: a scan that can't be read.
    """
    config, train = run.config, run.config.train
    samples = [sample for sample in dataset.samples if sample.name in run.facts.train]
    scans = ScanCache(dataset, samples, config.data, ranks=process_group.world_size())
    log.info("%s", scans.description)
    for line in scans.flattened_classes(dataset.classes):
        log.warning("%s", line)
    augmentation = build_augmentation(config.augment, patch=train.patch, foreground=train.foreground)
    return TrainingPatches(scans, augmentation, seed=train.seed)


def _initial_state(run: Run, device: Device, start: fine_tuning.StartWeights | None) -> TrainingState:
    network = run.build_network()
    if process_group.world_size() > 1:
        convert_sync_batch_norm(network)
    init_prior_bias(network, len(run.facts.classes), exclusive=run.facts.exclusive)
    fine_tuning.load_start(run, network, start)
    network = device.place_network(network)
    optimizer = run.config.optimizer.build(network.parameters())
    scaler = torch.amp.GradScaler(device.device.type, enabled=device.dtype == torch.float16)
    decay = run.config.train.ema
    return TrainingState(network, optimizer, scaler, moving_average(network, decay) if decay else None)


def _log_start(run: Run, state: TrainingState, device: Device) -> None:
    name, train = run.config.network.name, run.config.train
    ranks = f"{process_group.world_size()} x " if process_group.world_size() > 1 else ""
    values = (name, ranks, device, len(run.facts.train), train.batch, state.step, train.steps)
    log.info("training %s on %s%s: %d scans, %d patches a batch, %d of %d steps done", *values)


def _open_run_and_dataset(
    config: Config, options: TrainArguments, held: ExitStack
) -> tuple[Run, Dataset, fine_tuning.StartWeights | None]:
    """The run, created or opened to be resumed, the dataset, and weights to start from.

    The run's folder stays locked until `held` is closed.
    """
    process_group.rank_part_sizes(config.train.batch, config.train.accumulate)
    dataset, facts = load_and_split(config, options.data, options.first_fold)
    start = fine_tuning.resolve_start(options.weights, options.run, resume=options.resume)
    if start:  # weights of which nothing fits are refused before anything is written
        network = config.network.build(len(facts.channels), len(facts.classes))
        match_tensors(network, start.weights)
    held.enter_context(folder_lock(options.run, busy=BUSY))
    return _open_run(config, options, dataset, fine_tuning.with_ancestors(facts, start)), dataset, start


def _open_run(config: Config, options: TrainArguments, dataset: Dataset, facts: RunSplits) -> Run:
    if not options.resume:
        if not is_unused(options.run):
            raise UserError(f"{options.run}: exists; pass --resume to go on or --run NAME to start another")
        return _create_run(config, options.run, dataset, facts)
    run = Run.open(options.run)
    run.check_classes(facts.classes, options.data)
    new = with_own_postprocessing(config, run)
    problems = _changed_settings(run.config.model_dump(), new.model_dump())
    problems += describe_changed_data(run.facts, facts)
    if problems:
        raise UserError(
            f"{options.run}: can't be resumed with other settings: {', '.join(problems)}; "
            "use the same ones or start another with --run NAME"
        )
    return run


def describe_changed_data(old: RunSplits, new: RunSplits) -> Iterator[str]:
    """A line if the sets differ, and one each if the labels or the images of scans do; all name the scans."""
    later = {"cases", "images", "files", "inherited", "slice_mm"}  # which earlier versions did not write
    if old.model_dump(exclude=later) != new.model_dump(exclude=later):
        before, after = (
            {scan: part for part in SETS[:-1] for scan in getattr(of, part)} for of in (old, new)
        )
        moved = sorted({scan for scan, _ in before.items() ^ after.items()})
        yield f"the dataset or fold (splits.json differs{' in ' * bool(moved)}{join_names(moved)})"
    for part in FileChecksums.model_fields:
        pairs = {name: (one, new.files[name]) for name, one in old.files.items() if name in new.files}
        changed = [name for name, pair in pairs.items() if getattr(pair[0], part) != getattr(pair[1], part)]
        if changed:
            yield f"the {part} of {join_names(changed)} (changed since)"


def _create_run(config: Config, folder: Path, dataset: Dataset, facts: RunSplits) -> Run:
    """A new run; where the config lists no steps, it begins with those that the training labels justify."""
    if config.lists_steps:
        return Run.create(folder, config, facts)
    justified = steps_by_labels(dataset, facts.train)
    steps = justified.added_to(config.postprocess)
    complete = config.model_copy(update={"postprocess": steps})
    return Run.create(folder, complete, facts, comments=justified.comments)


def with_own_postprocessing(config: Config, run: Run) -> Config:
    """The config with the run's own post-processing, by its labels or by `volseg tune`."""
    if config.lists_steps and config.postprocess != run.config.postprocess:
        log.info("%s: keeps its own steps, which are not those of the config", run.steps_file)
    return config.model_copy(update={"postprocess": run.config.postprocess})


def _changed_settings(old: Any, new: Any, place: str = "") -> list[str]:
    """Each setting that differs, by dotted key, with its old and new value."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = dict.fromkeys([*old, *new])
        below = (_changed_settings(old.get(k), new.get(k), f"{place}.{k}".lstrip(".")) for k in keys)
        return [line for lines in below for line in lines]
    return [] if old == new else [f"{place} ({old} then, {new} now)"]


def _log_excluded(dataset: Dataset) -> None:
    names = [sample.name for sample in dataset.samples if sample.excluded]
    if names:
        log.info("left out, on the data author's list of bad labels: %s", ", ".join(names))
