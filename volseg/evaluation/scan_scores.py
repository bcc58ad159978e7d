"""Scores of one scan from the files of its masks and labels, and the table of many scans' scores."""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from volseg import __version__
from volseg.arguments import MaskOptions
from volseg.data.mask_files import MaskFile, MaskReader, read_grid
from volseg.data.preprocessing.grid import NetworkGrid
from volseg.errors import UserError
from volseg.metrics import DEFAULT, compute_metrics, kaggle_score, plugin_metrics
from volseg.metrics.distance import HD95
from volseg.metrics.kaggle_score import KaggleTerms
from volseg.metrics.mask_pair import MaskPair
from volseg.metrics.overlap import Dice
from volseg.runs.trained_on import Seen
from volseg.system.files import file_sha256

if TYPE_CHECKING:
    from pandas import DataFrame

GROUPS: dict[Seen, str] = {
    "none": "unseen cases",
    "case": "later days of seen cases",
    "unknown": "unknown whether training saw them",
    "scan": "seen scans",
}
CHOSE = " (they chose the weights)"
"""Behind the name of a group, of scans by which the best weights were chosen: their scores are too good."""
GROUP_NAMES = tuple(f"{name}{phrase}" for name in GROUPS.values() for phrase in ("", CHOSE))
LABELLED = "_labelled"  # Dice_labelled: within the slices that have labels
WITHIN_LABELS = (Dice(), HD95())
NAMES = (*(one.column_name for one in DEFAULT), *(f"{one.column_name}{LABELLED}" for one in WITHIN_LABELS))
"""Our own metrics as they are called in scores.csv."""


@dataclass(frozen=True, kw_only=True)
class ScanInfo:
    """The scan that scores belong to.

    `day` is 1 for the first of its case's days in the dataset, `matrix` the size of its slices as
    `266x266`, and `made_from` the hash of everything that its scores follow from. `notes` tell what was
    odd about its masks. The `competition`'s score is told only of its own data.
    """

    scan: str
    case: str
    seen: Seen
    chose_weights: bool = False
    run: str = ""
    day: int = 1
    matrix: str = ""
    prediction_folder: str = ""
    labels_folder: str = ""
    made_from: str = ""
    notes: tuple[str, ...] = ()
    competition: bool = False

    @property
    def group(self) -> str:
        """What training had to do with the scan, as tables and files call it."""
        return GROUPS[self.seen] + (CHOSE if self.chose_weights and self.seen != "scan" else "")

    def with_scores(
        self, values: Mapping[str, Mapping[str, float]], part: KaggleTerms, notes: Sequence[str] = ()
    ) -> "ScanScores":
        """The scores of this scan, and notes on its masks."""
        info = {field.name: getattr(self, field.name) for field in fields(ScanInfo)}
        return ScanScores(**info | {"notes": tuple(notes)}, values=values, part=part)


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
    """A scan to score: the files of its labels and prediction by class, and the one that states its grid."""

    origin: ScanInfo
    labels: Mapping[str, MaskFile]
    prediction: Mapping[str, MaskFile]
    grid_file: Path
    spacing_mm: tuple[float, float, float]
    options: MaskOptions

    @property
    def source_hash(self) -> str:
        """The hash of all that the scores follow from: existing files, how they are read, this version."""
        sides = [(name, mask) for masks in (self.labels, self.prediction) for name, mask in masks.items()]
        digests = {path: file_sha256(path) for path in {mask.path for _, mask in sides} if path.is_file()}
        files = [(name, digests.get(mask.path), mask.values, mask.known) for name, mask in sides]
        grid = read_grid(self.grid_file)
        place = (grid.voxels.shape, grid.affine.tolist(), self.spacing_mm)
        how = (self.options.threshold, self.options.resample)
        others = (f"{name} {plugin}" for name, (plugin, _) in plugin_metrics().items())
        return hashlib.sha256(repr((__version__, (*NAMES, *others), place, how, files)).encode()).hexdigest()


def score_scan(pair: ScanFilePair) -> ScanScores | str:
    """The scores of one scan, or the problems of its files, one a line."""
    grid = read_grid(pair.grid_file)
    labels, predictions = MaskReader(grid), MaskReader(grid, pair.options)
    axis = NetworkGrid.from_volume(grid, None).slice_axis
    masks: dict[str, MaskPair] = {}
    problems = []
    for name in pair.labels:
        try:
            both = labels.read(pair.labels[name]), predictions.read(pair.prediction[name])
            masks[name] = MaskPair.with_slices_last(*both, pair.spacing_mm, slice_axis=axis)
        except UserError as error:
            problems.append(str(error))
    if problems:
        return "\n".join(dict.fromkeys(problems))  # several classes may be in one file
    labelled = _within_labelled_slices(masks)
    values = {
        name: {**compute_metrics(both), **_labelled_metrics(labelled.get(name))}
        for name, both in masks.items()
    }
    notes = (*labels.notes, *predictions.notes)
    return pair.origin.with_scores(values, kaggle_score.scan_terms(masks), notes)


def _within_labelled_slices(pairs: Mapping[str, MaskPair]) -> dict[str, MaskPair]:
    """The masks from the first to the last slice with a label of any class; {} for none.

    Labels stop at a cut although the organs go on: predictions beyond it can't be scored.
    """
    slices = np.flatnonzero(np.logical_or.reduce([pair.label.any(axis=(0, 1)) for pair in pairs.values()]))
    if not slices.size:
        return {}
    first, last = int(slices[0]), int(slices[-1]) + 1
    return {
        name: pair
        if first <= pair.box[2].start and pair.box[2].stop <= last  # which has computed much already
        else MaskPair(pair.label[:, :, first:last], pair.prediction[:, :, first:last], pair.spacing_mm)
        for name, pair in pairs.items()
    }


def _labelled_metrics(pair: MaskPair | None) -> dict[str, float]:
    """The metrics within the labelled slices; NaN where a scan has none."""
    return {f"{metric.column_name}{LABELLED}": metric(pair) if pair else math.nan for metric in WITHIN_LABELS}
