"""What inference is asked to predict: scans of a dataset, or files and folders outside any."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from volseg.data import volume_files
from volseg.data.dataset import Dataset, Sample
from volseg.data.layouts.gi_tract.slice_scan import SliceScan, read_folder
from volseg.data.splits import case_of
from volseg.data.volume import Volume
from volseg.errors import UserError
from volseg.inference.ensemble import Ensemble, InferenceOptions
from volseg.runs.folds import OUT_OF_FOLD


@dataclass(frozen=True)
class InferenceRequest:
    """What is predicted, by which runs (by default the newest), and where the masks go."""

    runs: tuple[str, ...] = ()
    data: Path = Path("data/prepared")
    out: Path = Path("predictions")
    case: tuple[str, ...] = ()
    everything: bool = False
    split: str | None = None
    inputs: tuple[Path, ...] = ()
    allow_gaps: bool = False
    how: InferenceOptions = InferenceOptions()
    probabilities: bool = False


@dataclass(frozen=True)
class ScanSource:
    """A scan to predict: the files it is read from and, where it came from slices, their numbers.

    `problem` says why it can't be read at all.
    """

    name: str
    case: str
    paths: tuple[Path, ...] = ()
    slices: tuple[int, ...] = ()
    scan: SliceScan | None = None
    problem: str = ""

    def read_channels(self) -> list[Volume]:
        """The image's channels on the native grid.

        Raises:
            UserError: missing, damaged or inconsistent files.
        """
        if self.problem:
            raise UserError(self.problem)
        if self.scan:
            return [self.scan.image()]
        return [channel for path in self.paths for channel in volume_files.read_channels(path)]

    def digest(self, channels: Sequence[Volume]) -> str:
        """SHA-256 of what was read: voxels, their place, and the slices' numbers."""
        digest = hashlib.sha256(repr(self.slices).encode())
        for channel in channels:
            digest.update(repr((channel.voxels.shape, channel.voxels.dtype.str)).encode())
            digest.update(channel.affine.tobytes())
            digest.update(np.ascontiguousarray(channel.voxels.T).data)  # no copy of a NIfTI's voxels
        return digest.hexdigest()


def find_scan_sources(wanted: InferenceRequest, by: Ensemble) -> list[ScanSource]:
    """What to predict.

    Raises:
        UserError: an input that does not exist, two of one name, or nothing to predict.
    """
    if wanted.inputs:
        return _sources_from_paths(wanted.inputs, allow_gaps=wanted.allow_gaps)
    dataset = Dataset.load(wanted.data)
    by.runs[0].check_classes(dataset.classes, wanted.data)
    samples = _select_samples(wanted, dataset, by)
    if not samples:
        raise UserError(f"{wanted.data}: no scan in {wanted.split}; {_sets_hint(by)}")
    return [
        ScanSource(one.name, one.case, tuple(dataset.folder / i for i in one.images), one.slices)
        for one in samples
    ]


def _sets_hint(by: Ensemble) -> str:
    told = f"see splits.json in {by.runs[0].folder}"
    if len(by.runs) == 1:
        return told
    held = [folder / OUT_OF_FOLD for folder in by.folders if (folder / OUT_OF_FOLD).is_dir()]
    each = f"; what each fold predicts of cases new to it is in {held[0]}" if held else ""
    return f"{told}; of several runs, the one that saw the most of a scan says its set{each}"


def _select_samples(wanted: InferenceRequest, dataset: Dataset, by: Ensemble) -> Sequence[Sample]:
    if wanted.everything:
        return dataset.samples
    if wanted.split == "test":
        return [sample for sample in dataset.samples if sample.part == "test"]
    if wanted.split:
        return [s for s in dataset.samples if by.set_of(s.name) == wanted.split]
    return list({s.name: s for name in wanted.case for s in dataset.select_samples(name)}.values())


def _sources_from_paths(paths: Sequence[Path], *, allow_gaps: bool) -> list[ScanSource]:
    problems = [
        f"{path}: no such file or folder; expected a folder of slices or a volume"
        for path in paths
        if not path.exists()
    ]
    sources = [_source_from_path(path, allow_gaps=allow_gaps) for path in paths if path.exists()]
    for name, count in Counter(source.name for source in sources).items():
        if count > 1:
            problems.append(f"{name}: {count} inputs of this name; predict them into two --out folders")
    if problems:
        raise UserError.from_problems(problems)
    return sources


def _source_from_path(path: Path, *, allow_gaps: bool) -> ScanSource:
    """A folder of slices or a volume's file outside any dataset."""
    if path.is_file():
        name = path.name.removesuffix(".gz").rpartition(".")[0] or path.name
        return ScanSource(name, case_of(name), (path,))
    try:
        scan = read_folder(path, allow_gaps=allow_gaps)
    except UserError as error:
        return ScanSource(path.resolve().name, "", problem=str(error))
    return ScanSource(scan.name, scan.case, scan.paths, scan.numbers, scan)
