"""`volseg train`: from a config and a prepared dataset to a run."""

import logging
import os
from contextlib import ExitStack, nullcontext
from pathlib import Path

import torch
from torch import nn

from volseg.arguments import Fold, TrainArguments
from volseg.config.config import Config
from volseg.data.dataset import Dataset, Sample
from volseg.data.splits import split_samples
from volseg.errors import UserError
from volseg.model.distributed import process_group
from volseg.model.distributed.joining import join_ranks
from volseg.model.distributed.sync_batch_norm import convert_sync_batch_norm
from volseg.model.engines.device_errors import device_errors
from volseg.model.engines.device_selection import usable_device, warn_of_unused_gpu
from volseg.model.engines.torch_device import Device
from volseg.model.networks import init_prior_bias
from volseg.model.networks.deep_supervision import level_weights
from volseg.postprocessing import ineffective_steps, unknown_classes
from volseg.runs.locate import has_checkpoint
from volseg.runs.run import Run
from volseg.runs.run_files import LAST, TRAINING_SCANS, FileChecksums, RunSplits
from volseg.system.files import read_content_checksum
from volseg.system.locks import folder_lock, is_unused
from volseg.system.log_file import log_to
from volseg.training import fine_tuning, loop
from volseg.training.augmentation.pipeline import build_augmentation
from volseg.training.compilation import compile_network
from volseg.training.encoder_weights import load_encoder, match_encoder
from volseg.training.label_parts import steps_by_labels
from volseg.training.loading.load_scan import LoadScan
from volseg.training.loading.loader import TrainingPatches
from volseg.training.loading.scan_cache import ScanCache
from volseg.training.loss_scale import LossScale
from volseg.training.memory_advice import memory_advice
from volseg.training.moving_average import MovingAverage
from volseg.training.pretrained_weights import match_tensors
from volseg.training.result import TrainingResult
from volseg.training.resume import open_to_resume
from volseg.training.scan_measurement import measure_scans
from volseg.training.state import TrainingState
from volseg.training.step import Stepper
from volseg.training.stopping import TrainingClock
from volseg.training.teacher import Teacher, describe_teacher, maps_of, open_teacher
from volseg.training.training import Training
from volseg.training.validation import Validation

log = logging.getLogger(__name__)
BUSY = "another `volseg train` is training it; wait for it, or start another with --run NAME"


def train(config: Config, options: TrainArguments) -> TrainingResult:
    """Train a network; validate and save after each epoch; write the best weights into the run.

    Within torchrun, or a job step of SLURM with several tasks, this process is one of several ranks
    that train together. The result is that of one process up to rounding, but for dropout, which
    each rank draws for itself.

    Raises:
        UserError: a dataset, split or run that doesn't fit.
    """
    with join_ranks(options.device), ExitStack() as held:
        device = usable_device(options.device)  # a wrong one is told before anything is written
        warn_of_unused_gpu(options.device)
        run, dataset, start = process_group.on_first_rank(
            lambda: _open_run_and_dataset(config, options, held)
        )
        log_file = log_to(run.folder / "log.txt")
        with log_file if process_group.rank() == 0 else nullcontext():
            _log_excluded(dataset)
            for line in describe_teacher(run, dataset):
                log.info("%s", line)
            with device_errors(device, memory_advice(config)):
                training = build_training(run, dataset, options, start)
                loop.train_until_done(training)
            state = training.state
            spent, rank = state.elapsed, process_group.rank()
            return TrainingResult(run.folder, state.step, state.best, spent, rank, config.train.select)


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
    folder = config.train.active_teacher
    teacher = open_teacher(folder, dataset, parts, config.data.hold_out) if folder else None
    taught = teacher.taught if teacher else ()
    samples += [sample for sample in dataset.samples if sample.name in taught]
    dataset.check_files(samples)
    facts = RunSplits(
        dataset=dataset.facts.name,
        data=os.path.abspath(data),  # noqa: PTH100 - links stay as they are
        classes=dataset.classes,
        exclusive=dataset.facts.exclusive,
        channels=dataset.facts.channels,
        fold=fold,
        cases={sample.name: sample.case for sample in samples},
        images={sample.name: sample.image_hash for sample in samples if sample.image_hash},
        files={sample.name: _file_checksums(dataset, sample, teacher) for sample in samples},
        slice_mm=dataset.slice_mm,
        synthetic=dataset.facts.synthetic,
        taught=taught,
        **parts._asdict(),
    )
    return dataset, facts


def _file_checksums(dataset: Dataset, sample: Sample, teacher: Teacher | None) -> FileChecksums:
    """The checksums of a scan's image, labels and maps."""
    labels = (sample.labels or {}).values()
    return FileChecksums(
        image=" ".join(read_content_checksum(dataset.folder / file) for file in sample.images),
        labels=" ".join(read_content_checksum(dataset.folder / file) for file in labels),
        teacher=teacher.checksum(sample.name) if teacher else "",
    )


def build_training(
    run: Run,
    dataset: Dataset,
    options: TrainArguments = TrainArguments(),
    start: fine_tuning.StartWeights | None = None,
) -> Training:
    """The parts of a training: the network, its scans in memory, and the state, fresh or resumed."""
    config, facts = run.config, run.facts
    device = Device.choose(config.train.precision, options.device)
    torch.manual_seed(config.train.seed)
    choose_algorithms(device.device)
    network = _initial_network(run, device, start)
    device = device.suited_to(network)
    state = _initial_state(run, network, device)
    if options.resume and has_checkpoint(run.folder):  # else it was stopped before its first checkpoint
        state.restore(run.folder / LAST)
    reserve = state.validation_seconds[-1] if state.validation_seconds else 0.0
    clock = TrainingClock(options.max_seconds, before=state.elapsed, reserve=reserve)
    patches = cached_patches(run, dataset, device.device)
    _log_start(run, state, device)
    shared = process_group.wrap_distributed(state.network)
    stepper = Stepper(
        loss=config.loss,
        exclusive=facts.exclusive,
        device=device,
        clip=config.train.clip,
        parts=process_group.rank_part_sizes(config.train.batch, config.train.accumulate),
        level_weights=level_weights(config.network),
        teacher_weight=config.train.teacher_weight,
        shared=shared,
        compiled=compile_network(shared or state.network) if config.train.compile else None,
    )
    validation = Validation.of_network(run, dataset, state.validated_network, device)
    beside = device.is_cuda  # the cores of a CPU are busy
    return Training(run, state, patches, stepper, validation, clock, beside=beside)


def choose_algorithms(device: torch.device) -> None:
    """Have torch repeat bit for bit on a CPU; on a GPU, where nothing is promised, be as fast as it can."""
    torch.use_deterministic_algorithms(mode=device.type == "cpu", warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = device.type == "cuda"


def cached_patches(run: Run, dataset: Dataset, device: torch.device) -> TrainingPatches:
    """The sequence of training patches for a device, with the scans in the cache.

    Raises:
        UserError: a scan that can't be read.
    """
    config, train = run.config, run.config.train
    names = {*run.facts.train, *run.facts.taught}
    samples = [sample for sample in dataset.samples if sample.name in names]
    load = LoadScan(dataset, config.data, maps_of(config, run.facts))
    scans = ScanCache(load, samples, ranks=process_group.world_size(), device=device)
    log.info("%s", scans.description)
    for line in scans.flattened_classes(dataset.classes):
        log.warning("%s", line)
    augmentation = build_augmentation(config.augment, patch=train.patch, foreground=train.foreground)
    return TrainingPatches(scans, augmentation, seed=train.seed, reach=config.network.reach[2])


def _initial_network(run: Run, device: Device, start: fine_tuning.StartWeights | None) -> nn.Module:
    network = run.build_network()
    if process_group.world_size() > 1:
        convert_sync_batch_norm(network, device.device)
    init_prior_bias(network, len(run.facts.classes), exclusive=run.facts.exclusive)
    if run.config.network.encoder_weights and not has_checkpoint(run.folder):
        load_encoder(network, run.config.network.encoder_weights)
    fine_tuning.load_start(run, network, start)
    return network


def _initial_state(run: Run, network: nn.Module, device: Device) -> TrainingState:
    network = device.place_network(network)
    optimizer = run.config.optimizer.build(network.parameters())
    scale = LossScale(device.device, enabled=device.dtype == torch.float16)
    decay = run.config.train.ema
    return TrainingState(network, optimizer, scale, MovingAverage(network, decay) if decay else None)


def _log_start(run: Run, state: TrainingState, device: Device) -> None:
    name, train = run.config.network.name, run.config.train
    ranks = f"{process_group.world_size()} x " if process_group.world_size() > 1 else ""
    values = (
        name,
        ranks,
        device,
        len({*run.facts.train, *run.facts.taught}),
        train.batch,
        state.step,
        train.steps,
    )
    log.info("training %s on %s%s: %d scans, %d patches a batch, %d of %d steps done", *values)


def _open_run_and_dataset(
    config: Config, options: TrainArguments, held: ExitStack
) -> tuple[Run, Dataset, fine_tuning.StartWeights | None]:
    """The run, created or opened to be resumed, the dataset, and weights to start from.

    The run's folder stays locked until `held` is closed.
    """
    process_group.rank_part_sizes(config.train.batch, config.train.accumulate)
    dataset, facts = load_and_split(config, options.dataset, options.first_fold)
    start = fine_tuning.resolve_start(options.weights, options.run, resume=options.resume)
    encoder = None if options.resume else config.network.encoder_weights
    if start or encoder:  # weights of which nothing fits are refused before anything is written
        network = config.network.build(len(facts.channels), len(facts.classes))
        if encoder:
            match_encoder(network, encoder)
        if start:
            match_tensors(network, start.weights)
    held.enter_context(folder_lock(options.run, busy=BUSY))
    return _open_run(config, options, dataset, fine_tuning.with_ancestors(facts, start)), dataset, start


def _open_run(config: Config, options: TrainArguments, dataset: Dataset, facts: RunSplits) -> Run:
    if options.resume:
        run = open_to_resume(config, options, facts)
    elif is_unused(options.run):
        run = _create_run(config, options, dataset, facts)
    else:
        raise UserError(f"{options.run}: exists; pass --resume to go on or --run NAME to start another")
    if not (run.folder / TRAINING_SCANS).is_file():  # new, or begun by an earlier version
        scans = {*facts.train, *facts.taught}
        measure_scans(dataset, scans, run.config.data.intensity).write(run.folder)
    return run


def _create_run(config: Config, options: TrainArguments, dataset: Dataset, facts: RunSplits) -> Run:
    """A new run; where the config lists no steps, it begins with those that the training labels justify."""
    folder, overrides = options.run, options.overrides
    if config.lists_steps:
        return Run.create(folder, config, facts, overrides=overrides)
    justified = steps_by_labels(dataset, facts.train)
    steps = justified.added_to(config.postprocess)
    complete = config.model_copy(update={"postprocess": steps})
    return Run.create(folder, complete, facts, comments=justified.comments, overrides=overrides)


def _log_excluded(dataset: Dataset) -> None:
    names = [sample.name for sample in dataset.samples if sample.excluded]
    if names:
        log.info("left out, on the data author's list of bad labels: %s", ", ".join(names))
