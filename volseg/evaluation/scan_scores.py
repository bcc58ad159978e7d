"""Scores of one scan from the files of its masks and labels, and the table of many scans' scores."""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from volseg import __version__
from volseg.data import volume_files
from volseg.errors import UserError
from volseg.metrics import DEFAULT, compute_metrics, kaggle_score
from volseg.metrics.distance import HD95
from volseg.metrics.kaggle_score import KaggleTerms
from volseg.metrics.mask_pair import MaskPair
from volseg.metrics.overlap import Dice

if TYPE_CHECKING:
    from pandas import DataFrame

Seen = Literal["scan", "case", "none"]
GROUPS: dict[Seen, str] = {"none": "unseen cases", "case": "later days of seen cases", "scan": "seen scans"}
LABELLED = "_labelled"  # Dice_labelled: within the slices that have labels
WITHIN_LABELS = (Dice(), HD95())
NAMES = (*(one.column_name for one in DEFAULT), *(f"{one.column_name}{LABELLED}" for one in WITHIN_LABELS))
"""The metrics as they are called in scores.csv."""


@dataclass(frozen=True, kw_only=True)
class ScanInfo:
    """The scan that scores belong to.

    `day` is 1 for the first of its case's days in the dataset, `matrix` the size of its slices as
    `266x266`; `prediction_folder` and `labels_folder` hold its masks and labels, and `made_from` is the
    hash of everything that its scores follow from.
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
        info = {field.name: getattr(self, field.name) for field in fields(ScanInfo)}
        return ScanScores(**info, values=values, part=part)


@dataclass(frozen=True, kw_only=True)
class ScanScores(ScanInfo):
    """One scan: the value of each metric by class and name, and its terms of the competition's score."""

    values: Mapping[str, Mapping[str, float]]
    part: KaggleTerms


def score_frame(scans: Iterable[ScanScores]) -> "DataFrame":
    """Table of scores with the columns scan, case, class, metric, value and seen.

    One row for each scan, class and metric, in the order of scores.csv. A value may be NaN (nothing to
    measure) or infinite (missed); `seen` says whether training saw the scan, its case or none of it.
    """
    from pandas import DataFrame

    rows = [
        (scan.scan, scan.case, class_name, metric, float(value), scan.seen)
        for scan in scans
        for class_name, metrics in scan.values.items()
        for metric, value in metrics.items()
    ]
    return DataFrame(rows, columns=["scan", "case", "class", "metric", "value", "seen"])


def group_scans(scans: Iterable[ScanScores], key: Callable[[ScanScores], str]) -> dict[str, list[ScanScores]]:
    """Scans by a key, in the order in which keys first occur."""
    groups: dict[str, list[ScanScores]] = {}
    for scan in scans:
        groups.setdefault(key(scan), []).append(scan)
    return groups


@dataclass(frozen=True)
class ScanFilePair:
    """A scan to score, and the files of its labels and prediction by class."""

    origin: ScanInfo
    labels: Mapping[str, Path]
    prediction: Mapping[str, Path]
    spacing_mm: tuple[float, float, float]


def source_hash(
    labels: Mapping[str, Path], prediction: Mapping[str, Path], spacing_mm: tuple[float, ...]
) -> str:
    """The hash of everything that a scan's scores follow from: masks, labels, metrics and this version.

    A missing file is left out of the hash; `score_scan` reports it.
    """
    files = [
        (name, side, hashlib.sha256(file.read_bytes()).hexdigest())
        for side, masks in (("truth", labels), ("prediction", prediction))
        for name, file in masks.items()
        if file.is_file()
    ]
    return hashlib.sha256(repr((__version__, NAMES, spacing_mm, files)).encode()).hexdigest()


def score_scan(pair: ScanFilePair) -> ScanScores | str:
    """The scores of one scan, or the problems of its files, one a line."""
    masks: dict[str, MaskPair] = {}
    problems = []
    for name in pair.labels:
        try:
            masks[name] = _read_mask_pair(pair.labels[name], pair.prediction[name], pair.spacing_mm)
        except UserError as error:
            problems.append(str(error))
    if problems:
        return "\n".join(problems)
    labelled = _within_labelled_slices(masks)
    values = {
        name: {**compute_metrics(both), **_labelled_metrics(labelled.get(name))}
        for name, both in masks.items()
    }
    return pair.origin.with_scores(values, kaggle_score.scan_terms(masks))


def _read_mask_pair(
    label_file: Path, prediction_file: Path, spacing_mm: tuple[float, float, float]
) -> MaskPair:
    label, prediction = volume_files.read(label_file), volume_files.read(prediction_file)
    if label.voxels.shape != prediction.voxels.shape:
        raise UserError(
            f"{prediction_file}: its shape is {prediction.voxels.shape}; "
            f"{label_file} has {label.voxels.shape}; predict it again"
        )
    if not label.same_grid(prediction):
        raise UserError(
            f"{prediction_file}: lies elsewhere than {label_file} (another affine); predict it again"
        )
    for file, voxels in ((label_file, label.voxels), (prediction_file, prediction.voxels)):
        if not ((voxels == 0) | (voxels == 1)).all():
            raise UserError(f"{file}: holds values other than 0 and 1; expected a mask")
    return MaskPair(label.voxels.astype(bool), prediction.voxels.astype(bool), spacing_mm)


def _within_labelled_slices(pairs: Mapping[str, MaskPair]) -> dict[str, MaskPair]:
    """The masks within the slices from the first to the last with a label of any class; {} for none.

    Labels stop at a cut although the organs go on: predictions beyond it can't be scored.
    """
    slices = np.flatnonzero(np.logical_or.reduce([pair.label.any(axis=(0, 1)) for pair in pairs.values()]))
    if not slices.size:
        return {}
    first, last = int(slices[0]), int(slices[-1]) + 1
    return {name: _crop_slices(pair, first, last) for name, pair in pairs.items()}


def _crop_slices(pair: MaskPair, first: int, last: int) -> MaskPair:
    """The slices first to last - 1; the same pair where nothing lies outside them."""
    if first <= pair.box[2].start and pair.box[2].stop <= last:
        return pair
    return MaskPair(pair.label[:, :, first:last], pair.prediction[:, :, first:last], pair.spacing_mm)


def _labelled_metrics(pair: MaskPair | None) -> dict[str, float]:
    """The metrics within the labelled slices; NaN where a scan has none."""
    return {f"{metric.column_name}{LABELLED}": metric(pair) if pair else math.nan for metric in WITHIN_LABELS}
