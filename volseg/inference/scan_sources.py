"""The scans to predict: samples of a dataset, or files and folders outside any dataset."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from volseg.arguments import InferArguments
from volseg.data import volume_files
from volseg.data.dataset import Dataset, Sample
from volseg.data.image_identity import ScanIdentity, image_hash
from volseg.data.layouts.gi_tract.slice_scan import SliceScan, read_folder
from volseg.data.scan_names import case_and_day
from volseg.data.volume import Volume
from volseg.errors import UserError
from volseg.inference.ensemble import Ensemble
from volseg.runs.folds import OUT_OF_FOLD
from volseg.schema import name_fault


@dataclass(frozen=True)
class ScanSource:
    """A scan to predict: its files and, where it came from slices, their numbers.

    `beside` are the scans of its dataset, if it is of one. `problem` says why it can't be read at all.
    """

    name: str
    case: str
    paths: tuple[Path, ...] = ()
    slices: tuple[int, ...] = ()
    scan: SliceScan | None = None
    beside: tuple[ScanIdentity, ...] = ()
    problem: str = ""

    @property
    def origin(self) -> tuple[str, ...]:
        """The absolute paths that the image is read from: files, or a folder of slices."""
        paths = (self.scan.folder,) if self.scan else self.paths
        return tuple(os.path.abspath(path) for path in paths)  # noqa: PTH100 - links stay as they are

    def read_channels(self) -> list[Volume]:
        """The image's channels, each (X, Y, Z) on the native grid.

        Raises:
            UserError: missing, damaged or inconsistent files.
        """
        if self.problem:
            raise UserError(self.problem)
        if self.scan:
            return [self.scan.image()]
        return [channel for path in self.paths for channel in volume_files.read_channels(path)]

    def identity(self, channels: Sequence[Volume]) -> ScanIdentity:
        """What tells the scan from others; without channels, of one that was not read, its names."""
        image = image_hash(channels) if channels else ""
        return ScanIdentity(name=self.name, case=self.case, image=image)

    def digest(self, channels: Sequence[Volume]) -> str:
        """SHA-256 of the slices' numbers and of the channels' voxels and affines."""
        forms = [(channel.voxels.shape, channel.voxels.dtype.str) for channel in channels]
        digest = hashlib.sha256(json.dumps([self.slices, forms]).encode())
        for channel in channels:
            digest.update(channel.affine.tobytes())
            digest.update(np.ascontiguousarray(channel.voxels.T).data)  # no copy of a NIfTI's voxels
        return digest.hexdigest()


def find_scan_sources(options: InferArguments, ensemble: Ensemble) -> list[ScanSource]:
    """The scans that the options name.

    Raises:
        UserError: an input that does not exist, two of one name, or nothing to predict.
    """
    if options.input:
        return _sources_from_paths(options.input, allow_gaps=options.allow_gaps)
    dataset = Dataset.load(options.data)
    ensemble.runs[0].check_classes(dataset.classes, options.data)
    samples = _select_samples(options, dataset, ensemble)
    if not samples:
        raise UserError(f"{options.data}: no scan in {options.split}; {_sets_hint(ensemble)}")
    beside = tuple(sample.identity for sample in dataset.samples)
    return [
        ScanSource(
            sample.name,
            sample.case,
            tuple(dataset.folder / image for image in sample.images),
            sample.slices,
            beside=beside,
        )
        for sample in samples
    ]


def _sets_hint(ensemble: Ensemble) -> str:
    """Where the user finds which scans are in which set."""
    hint = f"see splits.json in {ensemble.runs[0].folder}"
    if len(ensemble.runs) == 1:
        return hint
    folders = [folder / OUT_OF_FOLD for folder in ensemble.folders if (folder / OUT_OF_FOLD).is_dir()]
    each = f"; what each fold predicts of cases new to it is in {folders[0]}" if folders else ""
    return f"{hint}; of several runs, the one that saw the most of a scan says its set{each}"


def _select_samples(options: InferArguments, dataset: Dataset, ensemble: Ensemble) -> Sequence[Sample]:
    if options.all:
        return dataset.samples
    if options.split == "test":
        return [sample for sample in dataset.samples if sample.part == "test"]
    if options.split:
        return [sample for sample in dataset.samples if ensemble.set_of(sample.identity) == options.split]
    return list({s.name: s for name in options.case for s in dataset.select_samples(name)}.values())


def _sources_from_paths(paths: Sequence[Path], *, allow_gaps: bool) -> list[ScanSource]:
    problems = [
        f"{path}: no such file or folder; expected a folder of slices or a volume"
        for path in paths
        if not path.exists()
    ]
    found = [path for path in paths if path.exists()]
    sources = [_source_from_path(path, allow_gaps=allow_gaps) for path in found]
    for path, source in zip(found, sources, strict=True):
        if fault := name_fault(source.name):
            problems.append(f"{path}: {source.name!r} can't be the name of a scan: {fault}; rename it")
    for name, count in Counter(source.name for source in sources).items():
        if count > 1:
            problems.append(f"{name}: {count} inputs of this name; predict them into two --out folders")
    if problems:
        raise UserError.from_problems(problems)
    return sources


def _source_from_path(path: Path, *, allow_gaps: bool) -> ScanSource:
    """The scan in a folder of slices or in a volume's file, outside any dataset."""
    if path.is_file():
        name = path.name.removesuffix(".gz").rpartition(".")[0] or path.name
        return ScanSource(name, case_and_day(name)[0], (path,))
    try:
        scan = read_folder(path, allow_gaps=allow_gaps)
    except UserError as error:
        return ScanSource(path.resolve().name, "", problem=str(error))
    return ScanSource(scan.name, scan.case, scan.paths, scan.numbers, scan)
