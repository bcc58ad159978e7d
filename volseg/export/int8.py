"""Quantisation of a package to 8 bits, accepted if the masks of scans not trained on stay as good."""

import logging
import math
import shutil
import statistics
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np

from volseg import console
from volseg.arrays import Box
from volseg.data.dataset import Dataset, Sample
from volseg.data.preprocessing.grid import NetworkInput
from volseg.errors import UserError
from volseg.export.equivalence import held_out_samples, load_run_predictor
from volseg.inference.predictor import Predictor, window_tiling
from volseg.inference.sliding_window import padded_box
from volseg.metrics.mask_pair import MaskPair
from volseg.metrics.overlap import Dice
from volseg.model.engines import OpenVINO
from volseg.model.engines.interface import Floats
from volseg.model.engines.openvino import import_openvino, openvino_core
from volseg.runs.package import MODEL, Package, seal_package
from volseg.runs.run import Run
from volseg.system import processes
from volseg.system.timing import StepTimer

log = logging.getLogger(__name__)
MOST_LOST = 0.002
"""The fall of the mean Dice from which 8 bits are not worth it."""
SCANS, CENTRED, OTHERS = 10, 3, 2
"""Training scans that give the ranges; windows of each around classes and elsewhere in the body."""


def quantise_network(file: Path, windows: Sequence[Floats], out: Path) -> None:
    """Write a network in 8 bits, whose ranges are those on windows (C, X, Y, Z)."""
    library = import_openvino()  # before NNCF loads it
    import nncf

    logging.getLogger("nncf").setLevel(logging.ERROR)
    batches = nncf.Dataset([window[None] for window in windows])
    try:
        model = openvino_core().read_model(file)
        with redirect_stdout(StringIO()):  # it draws progress bars there
            preset = nncf.QuantizationPreset.MIXED
            quantised = nncf.quantize(model, batches, preset=preset, subset_size=len(windows))
    except (RuntimeError, nncf.ValidationError, nncf.InternalError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise UserError(f"--int8: the network can't be quantised ({reason}); leave --int8 out") from error
    library.save_model(quantised, out, compress_to_fp16=False)


@dataclass(frozen=True)
class PackageScore:
    """The mean Dice over classes and scans, and the median over scans of the seconds a window."""

    dice: float
    seconds: float


@dataclass(frozen=True)
class Int8Result:
    """The scores before and after quantisation, and the number of scans they were measured on."""

    scans: int
    before: PackageScore
    after: PackageScore
    on_training_scans: bool = False

    @property
    def is_accepted(self) -> bool:
        """Whether the masks stay as good."""
        return self.after.dice > self.before.dice - MOST_LOST

    def __str__(self) -> str:
        """Both scores and the decision."""
        verdict = "kept" if self.is_accepted else f"not kept: Dice falls by {MOST_LOST} or more"
        which = "training scans (the run has no others here)" if self.on_training_scans else "scans"
        return (
            f"8 bits {verdict}: Dice {self.after.dice:.4f} (before {self.before.dice:.4f}) on "
            f"{self.scans} {which}, {self.after.seconds:.3f} s a window (before {self.before.seconds:.3f})"
        )


def comparison_samples(run: Run, dataset: Dataset | None) -> list[Sample]:
    """The labelled scans on which 8 bits are compared with the run.

    Raises:
        UserError: there are none, or no training scans that give the ranges.
    """
    found = held_out_samples(run, dataset) if dataset else []
    samples = [sample for sample in found if sample.labels and not sample.excluded]
    if dataset is None or not samples or not _training_samples(run, dataset):
        raise UserError(
            "--int8: needs the scans that the run was trained and validated on; name their dataset "
            "with --data"
        )
    return samples


def quantise_if_equivalent(
    run: Run, package: Package, dataset: Dataset, scans: Sequence[Sample]
) -> Int8Result:
    """Quantise a package in place if its masks stay as good.

    Raises:
        UserError: the network can't be quantised, or scans that can't be read.
    """
    eight = package.folder / "int8"
    shutil.copytree(package.folder, eight)
    names = MODEL["openvino"]
    log.info("quantising the network")
    processes.run_in_subprocess(_quantise, (run, package.network_file(), dataset, eight / names[0]))
    quantised = seal_package(eight, run, "openvino", "int8")
    before, after = _score_packages([package, quantised], dataset, scans)
    trained_on = run.facts.seen_in_training(scans[0].identity) == "scan"
    result = Int8Result(len(scans), before, after, trained_on)
    if result.is_accepted:
        for name in names:
            (eight / name).replace(package.folder / name)
        seal_package(package.folder, run, "openvino", "int8")
    shutil.rmtree(eight)
    return result


def _quantise(order: tuple[Run, Path, Dataset, Path]) -> None:
    run, network, dataset, out = order
    quantise_network(network, list(_sample_windows(run, dataset)), out)


def _sample_windows(run: Run, dataset: Dataset) -> Iterator[Floats]:
    """Windows (C, X, Y, Z) of training scans, which are taken evenly from the list."""
    samples, data = _training_samples(run, dataset), run.config.data
    positions = np.linspace(0, len(samples) - 1, min(SCANS, len(samples))).round().astype(int)
    rng = np.random.default_rng(0)
    for sample in (samples[position] for position in positions):
        view = NetworkInput.from_channels(dataset.channels(sample), data.spacing_mm, data.intensity)
        for box in [*_class_centred_boxes(run, dataset, sample, view, rng), *_random_boxes(run, view, rng)]:
            yield padded_box(view, box, clamp_z=run.config.network.reach[2] > 0)


def _class_centred_boxes(
    run: Run, dataset: Dataset, sample: Sample, view: NetworkInput, rng: np.random.Generator
) -> Iterator[Box]:
    """Boxes centred on random voxels of random classes that the scan has."""
    for name in rng.permutation(dataset.classes)[:CENTRED]:
        mask = view.grid.resample_mask(dataset.label(sample, name))
        voxels = np.flatnonzero(mask)
        if voxels.size:
            centre = np.unravel_index(rng.choice(voxels), mask.shape)
            yield _window_box([int(c) - w // 2 for c, w in zip(centre, run.config.window, strict=True)], run)


def _random_boxes(run: Run, view: NetworkInput, rng: np.random.Generator) -> Iterator[Box]:
    """Random boxes among the sliding windows over the body."""
    config = run.config
    tiling = window_tiling(view, config.inference, config.window, reach=config.network.reach[2])
    for _ in range(OTHERS):
        yield _window_box([int(rng.choice(side.starts)) for side in tiling.axis_tilings], run)


def _window_box(starts: Sequence[int], run: Run) -> Box:
    x, y, z = (slice(start, start + n) for start, n in zip(starts, run.config.window, strict=True))
    return x, y, z


def _training_samples(run: Run, dataset: Dataset) -> list[Sample]:
    own = (sample for sample in dataset.samples if run.facts.split_name(sample.identity) == "train")
    return [sample for sample in own if sample.labels]


def _score_packages(packages: Sequence[Run], dataset: Dataset, scans: Sequence[Sample]) -> list[PackageScore]:
    """Each package's score; packages alternate scan by scan, so that other load affects all alike."""
    predictors = [load_run_predictor(package, OpenVINO()) for package in packages]
    scores: list[list[tuple[list[float], float]]] = [[] for _ in predictors]
    with console.progress_bar("comparing 8 bits") as report:
        for number, sample in enumerate(scans, start=1):
            for predictor, scan_scores in zip(predictors, scores, strict=True):
                scan_scores.append(_score_scan(predictor, dataset, sample))
            report(number, len(scans), sample.name)
    return [
        PackageScore(_mean_over_classes([d for d, _ in pairs]), statistics.median(s for _, s in pairs))
        for pairs in scores
    ]


def _score_scan(predictor: Predictor, dataset: Dataset, sample: Sample) -> tuple[list[float], float]:
    """Each class's Dice, and the network's seconds a window."""
    channels, spent = dataset.channels(sample), StepTimer()
    dice = [
        Dice()(MaskPair(dataset.label(sample, name), mask, sample.spacing_mm))
        for name, mask in predictor.predict_masks(channels, spent)
    ]
    member = predictor.members[0]
    view = member.network_input(channels)
    tiling = window_tiling(view, member.inference, member.window, reach=member.reach)
    return dice, spent.by_step["network"] / (tiling.window_count * len(member.tta_networks))


def _mean_over_classes(values: Sequence[Sequence[float]]) -> float:
    """The mean over classes of the means over scans, of those that have the class."""
    by_class = [[v for v in column if not math.isnan(v)] for column in zip(*values, strict=True)]
    means = [statistics.fmean(column) for column in by_class if column]
    return statistics.fmean(means) if means else math.nan
