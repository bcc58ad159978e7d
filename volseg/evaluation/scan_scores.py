"""From the files of one scan's masks and labels to its scores."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from volseg import __version__
from volseg.data import volume_files
from volseg.errors import UserError
from volseg.metrics import DEFAULT, compute_metrics, kaggle_score
from volseg.metrics.distance import HD95
from volseg.metrics.kaggle_score import KaggleTerms
from volseg.metrics.mask_pair import MaskPair
from volseg.metrics.overlap import Dice

Seen = Literal["scan", "case", "none"]
GROUPS: dict[Seen, str] = {"none": "unseen cases", "case": "later days of seen cases", "scan": "seen scans"}
LABELLED = "_labelled"  # Dice_labelled: within the slices that have labels


class ScoreRow(NamedTuple):
    """One line of scores.csv; `value` may be NaN (nothing to measure) or infinite (missed)."""

    scan: str
    class_name: str
    metric: str
    value: float


@dataclass(frozen=True, kw_only=True)
class ScanInfo:
    """What a scan's scores are of.

    `day` is 1 for the first of its case's days in the dataset, `matrix` the size of its slices as
    `266x266`; `prediction` and `reference` are the folders of its masks and labels, and `made_from` is
    the hash of all that its scores follow from.
    """

    scan: str
    case: str
    seen: Seen
    run: str = ""
    day: int = 1
    matrix: str = ""
    prediction_folder: str = ""
    labels_folder: str = ""
    made_from: str = ""

    def with_scores(self, values: Mapping[str, Mapping[str, float]], part: KaggleTerms) -> "ScanScores":
        """The scores of this scan."""
        own = {one.name: getattr(self, one.name) for one in fields(ScanInfo)}
        return ScanScores(**own, values=values, part=part)


@dataclass(frozen=True, kw_only=True)
class ScanScores(ScanInfo):
    """One scan: the value of each metric by class and name, and its part of the competition's score."""

    values: Mapping[str, Mapping[str, float]]
    part: KaggleTerms


WITHIN_LABELS = (Dice(), HD95())
NAMES = (*(one.column_name for one in DEFAULT), *(f"{one.column_name}{LABELLED}" for one in WITHIN_LABELS))
"""The metrics as they are called in scores.csv."""


@dataclass(frozen=True)
class ScanFilePair:
    """A scan to score: what is known of it, and the files of its truth and prediction by class."""

    origin: ScanInfo
    labels: Mapping[str, Path]
    prediction: Mapping[str, Path]
    spacing_mm: tuple[float, float, float]


def source_hash(
    truth: Mapping[str, Path], prediction: Mapping[str, Path], spacing_mm: tuple[float, ...]
) -> str:
    """The hash of all that a scan's scores follow from: masks, labels, metrics and this version.

    A file that is missing has no part in it; `score` tells of it.
    """
    files = [
        (name, side, hashlib.sha256(file.read_bytes()).hexdigest())
        for side, masks in (("truth", truth), ("prediction", prediction))
        for name, file in masks.items()
        if file.is_file()
    ]
    told = repr((__version__, NAMES, spacing_mm, files))
    return hashlib.sha256(told.encode()).hexdigest()


def score_scan(pair: ScanFilePair) -> ScanScores | str:
    """The scores of one scan, or what is wrong with its files, one problem a line."""
    comparisons: dict[str, MaskPair] = {}
    problems = []
    for name in pair.labels:
        try:
            comparisons[name] = _read_mask_pair(pair.labels[name], pair.prediction[name], pair.spacing_mm)
        except UserError as error:
            problems.append(str(error))
    if problems:
        return "\n".join(problems)
    ranged = _within_labelled_slices(comparisons)
    values = {
        name: {**compute_metrics(comparison), **_labelled_metrics(ranged.get(name))}
        for name, comparison in comparisons.items()
    }
    return pair.origin.with_scores(values, kaggle_score.scan_terms(comparisons))


def _read_mask_pair(
    truth_file: Path, prediction_file: Path, spacing_mm: tuple[float, float, float]
) -> MaskPair:
    truth, prediction = volume_files.read(truth_file), volume_files.read(prediction_file)
    if truth.voxels.shape != prediction.voxels.shape:
        raise UserError(
            f"{prediction_file}: its shape is {prediction.voxels.shape}; "
            f"{truth_file} has {truth.voxels.shape}; predict it again"
        )
    if not truth.same_grid(prediction):
        raise UserError(
            f"{prediction_file}: lies elsewhere than {truth_file} (another affine); predict it again"
        )
    for file, voxels in ((truth_file, truth.voxels), (prediction_file, prediction.voxels)):
        if not ((voxels == 0) | (voxels == 1)).all():
            raise UserError(f"{file}: holds values other than 0 and 1; expected a mask")
    return MaskPair(truth.voxels.astype(bool), prediction.voxels.astype(bool), spacing_mm)


def _within_labelled_slices(comparisons: Mapping[str, MaskPair]) -> dict[str, MaskPair]:
    """The same within the slices from the first to the last with a label of any class; {} for none.

    Labels stop at a cut although the organs go on: what is predicted beyond it can't be judged.
    """
    labelled = [one.label.any(axis=(0, 1)) for one in comparisons.values()]
    slices = np.flatnonzero(np.logical_or.reduce(labelled))
    if not slices.size:
        return {}
    first, last = int(slices[0]), int(slices[-1]) + 1
    return {name: _crop_slices(one, first, last) for name, one in comparisons.items()}


def _crop_slices(comparison: MaskPair, first: int, last: int) -> MaskPair:
    """The slices first to last - 1; the same comparison where nothing lies outside them."""
    box = comparison.box[2]
    if first <= box.start and box.stop <= last:
        return comparison
    return MaskPair(
        comparison.label[:, :, first:last], comparison.prediction[:, :, first:last], comparison.spacing_mm
    )


def _labelled_metrics(comparison: MaskPair | None) -> dict[str, float]:
    """The metrics within the labelled slices; NaN where a scan has none."""
    return {
        f"{metric.column_name}{LABELLED}": metric(comparison) if comparison else math.nan
        for metric in WITHIN_LABELS
    }
