"""The scans to predict: samples of a dataset, or files and folders outside any dataset."""

import hashlib
import json
import logging
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from volseg.arguments import InferArguments
from volseg.data import volume_files
from volseg.data.dataset import Dataset, Sample
from volseg.data.image_identity import ScanIdentity, image_hash
from volseg.data.layouts.dicom.files import holds_dicom
from volseg.data.layouts.dicom.pixels import read_volume
from volseg.data.layouts.dicom.series import DicomSeries
from volseg.data.layouts.gi_tract.slice_scan import SLICE_MM, SliceScan, read_folder
from volseg.data.scan_names import case_and_day
from volseg.data.volume import LARGEST_MM, SMALLEST_MM, Volume
from volseg.errors import UserError
from volseg.inference.dicom_input import find_dicom_inputs, is_dicom_input
from volseg.inference.ensemble import Ensemble
from volseg.inference.input_paths import InputFiles, distinct_names, find_input_files
from volseg.runs.folds import OUT_OF_FOLD
from volseg.schema import name_fault

log = logging.getLogger(__name__)

DICOM_ORIGIN = "dicom:"  # in front of a volume's name, in place of a path
MIXED_FOLDER = "holds DICOM beside pictures or volumes; give each a folder of its own"


@dataclass(frozen=True)
class ScanSource:
    """A scan to predict: its files and, where it came from slices, their numbers.

    `day` is the scan's within its case, None where nothing tells it. `beside` are the scans of its dataset,
    if it is of one, that have the names of training scans. `series` is the volume of DICOM that it is, if it
    is one. `problem` says why it can't be read at all.
    """

    name: str
    case: str
    day: int | None = None
    paths: tuple[Path, ...] = ()
    slices: tuple[int, ...] = ()
    scan: SliceScan | None = None
    beside: tuple[ScanIdentity, ...] = ()
    problem: str = ""
    prepared: bool = False
    series: DicomSeries | None = None

    @property
    def origin(self) -> tuple[str, ...]:
        """The absolute paths that the image is read from: files, or a folder of slices.

        Of a series of DICOM it is a name, as paths may hold a patient's.
        """
        if self.series:
            return (f"{DICOM_ORIGIN}{self.series.name}",)
        paths = (self.scan.folder,) if self.scan else self.paths
        return tuple(os.path.abspath(path) for path in paths)  # noqa: PTH100 - links stay as they are

    def read_channels(self) -> list[Volume]:
        """The image's channels, each (X, Y, Z) on the native grid.

        Raises:
            UserError: missing, damaged or inconsistent files.
        """
        if self.problem:
            raise UserError(self.problem)
        if self.series:
            return [read_volume(self.series)]
        if self.scan:
            return [self.scan.image()]
        channels = [channel for path in self.paths for channel in volume_files.read_channels(path)]
        for odd in () if self.prepared else volume_files.scan_oddities(self.paths):
            log.warning("%s", odd.message)
        return channels

    @cached_property
    def voxels(self) -> int:
        """The size of the image by its files' names and headers; 0 where these can't be read."""
        if self.series:
            return math.prod(self.series.shape)
        try:
            shape = self.scan.shape if self.scan else volume_files.read_header(self.paths[0]).shape
        except UserError:
            return 0  # it fails when it is read, and takes no time
        return math.prod(shape)

    def identity(self, channels: Sequence[Volume]) -> ScanIdentity:
        """What tells the scan from others; without channels, of one that was not read, its names."""
        image = image_hash(channels) if channels else ""
        return ScanIdentity(name=self.name, case=self.case, image=image)

    def digest(self, channels: Sequence[Volume]) -> str:
        """SHA-256 of the slices' numbers and of the channels' voxels, affines and places in their headers."""
        forms = [(channel.voxels.shape, channel.voxels.dtype.str) for channel in channels]
        digest = hashlib.sha256(json.dumps([self.slices, forms]).encode())
        for channel in channels:
            digest.update(channel.affine.tobytes())
            digest.update(repr(channel.place).encode())
            digest.update(np.ascontiguousarray(channel.voxels.T).data)  # no copy of a NIfTI's voxels
        return digest.hexdigest()


def find_scan_sources(options: InferArguments, ensemble: Ensemble) -> list[ScanSource]:
    """The scans that the options name.

    Raises:
        UserError: an input that does not exist or can't be a scan's name, or nothing to predict in a
            dataset that has scans.
    """
    if options.slice_mm is not None and not SMALLEST_MM <= options.slice_mm <= LARGEST_MM:
        raise UserError(f"--slice-mm: {options.slice_mm:g} is no distance of slices in mm, e.g. 3")
    if options.input:
        slice_mm = options.slice_mm or ensemble.facts.slice_mm or SLICE_MM
        sources = _sources_from_paths(options, ensemble.facts.channels, slice_mm)
        if options.slice_mm is not None and not any(source.scan or source.problem for source in sources):
            raise UserError("--slice-mm: is of folders of slices; the volumes of --input state their own")
        return sources
    if options.series:
        raise UserError("--series: is of folders of DICOM, which --input names")
    if options.slice_mm is not None:
        raise UserError("--slice-mm: is of folders of slices, which --input names; a dataset has its own")
    dataset = Dataset.load(options.dataset)
    ensemble.runs[0].check_classes(dataset.classes, options.dataset)
    samples = _select_samples(options, dataset, ensemble)
    if dataset.samples and not samples:
        raise UserError(f"{options.dataset}: no scan in {options.split}; {_sets_hint(ensemble)}")
    beside = ensemble.trained_on.namesakes(sample.identity for sample in dataset.samples)
    return [
        ScanSource(
            sample.name,
            sample.case,
            sample.day,
            tuple(dataset.folder / image for image in sample.images),
            sample.slices,
            beside=beside,
            prepared=True,
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


def _sources_from_paths(
    options: InferArguments, channels: Sequence[str], slice_mm: float
) -> list[ScanSource]:
    """The scans of files and folders outside any dataset."""
    dicom = [path for path in options.input if is_dicom_input(path)]
    for name, given in (("--series", options.series), ("--dicom-out", options.dicom_out)):
        if given and not dicom:
            raise UserError(f"{name}: is of folders of DICOM; --input names none")
    found = [
        source_from_files(files, slice_mm=slice_mm, allow_gaps=options.allow_gaps)
        for files in find_input_files([path for path in options.input if path not in dicom], channels)
    ]
    places = [source.scan.folder if source.scan else source.paths[0] for source in found]
    names = distinct_names([(source.name, place) for source, place in zip(found, places, strict=True)])
    faults = {place: (name, name_fault(name)) for name, place in zip(names, places, strict=True)}
    problems = [
        f"{place}: {name!r} can't be the name of a scan: {fault}; rename it"
        for place, (name, fault) in faults.items()
        if fault
    ]
    if problems:
        raise UserError.from_problems(problems)
    named = [
        source if source.name == name else _renamed(source, name)
        for source, name in zip(found, names, strict=True)
    ]
    return [*named, *_dicom_sources(dicom, options)]


def _dicom_sources(paths: Sequence[Path], options: InferArguments) -> list[ScanSource]:
    """The volumes in folders of DICOM, by names that tell no patient."""
    if not paths:
        return []
    inputs = find_dicom_inputs(paths, options.series, allow_no_frame=options.allow_no_frame)
    return [ScanSource(one.series.name, one.case, series=one.series) for one in inputs]


def source_from_files(files: InputFiles, *, slice_mm: float, allow_gaps: bool = False) -> ScanSource:
    """The scan in a folder of slices or in the files of its channels."""
    path = files.paths[0]
    if path.is_file():
        return ScanSource(files.name, *_case_and_day(files.name), files.paths, problem=files.problem)
    if path.is_dir() and holds_dicom(path):  # names of files beside DICOM may be a patient's
        return ScanSource(path.resolve().name, "", None, files.paths, problem=MIXED_FOLDER)
    try:
        scan = read_folder(path, slice_mm=slice_mm, allow_gaps=allow_gaps)
    except UserError as error:
        return ScanSource(path.resolve().name, "", None, files.paths, problem=str(error))
    return ScanSource(scan.name, *_case_and_day(scan.name), scan.paths, scan.numbers, scan)


def _renamed(source: ScanSource, name: str) -> ScanSource:
    """A scan by another name, and by the case and day that it tells."""
    case, day = _case_and_day(name)
    return replace(source, name=name, case=case, day=day)


def _case_and_day(name: str) -> tuple[str, int | None]:
    """Case and day by a scan's name; None where the name tells no day."""
    case, day = case_and_day(name)
    return case, None if case == name else day


def slice_distance_note(options: InferArguments, sources: Sequence[ScanSource], ensemble: Ensemble) -> str:
    """A note on the distance of slices that was taken, where nobody stated it and it is not the usual one."""
    known = ensemble.facts.slice_mm
    if options.slice_mm is not None or not any(source.scan for source in sources) or known == SLICE_MM:
        return ""
    taken = f"the slices of --input are taken to be {known or SLICE_MM:g} mm apart"
    told = "as in the run's data" if known else "as the run's data do not tell it"
    return f"{taken}, {told}; --slice-mm takes another distance"
