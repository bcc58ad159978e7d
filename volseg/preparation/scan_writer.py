"""Preparation of one scan: reading, measuring, checking, and writing volumes on its native grid."""

import hashlib
import json
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from volseg.data.dataset import Sample
from volseg.data.image_identity import image_hash
from volseg.data.layouts.findings import Finding, error_findings
from volseg.data.layouts.raw_dataset import Masks, RawScan
from volseg.data.volume import Volume
from volseg.data.volume_files import read as read_volume
from volseg.data.volume_files import write_volume
from volseg.errors import UserError
from volseg.preparation import checks, records
from volseg.preparation.fingerprint import measure_scan
from volseg.preparation.records import ScanRecord
from volseg.system.files import private_files

FORMAT = 1  # to be raised when the same source gives other files, so that older ones are written again


@dataclass(frozen=True)
class WritePlan:
    """The settings of all scans of a dataset."""

    out: Path
    classes: tuple[str, ...]
    exclusive: bool

    def scan_key(self, scan: RawScan) -> str:
        """The hash of all that a scan's files depend on."""
        values = [FORMAT, self.classes, self.exclusive, scan.case, scan.day, scan.part, scan.stamp]
        return hashlib.sha256(json.dumps(values).encode()).hexdigest()


class ScanOutcome(NamedTuple):
    """The record of a scan (None: the scan can't be used) and the findings on it."""

    name: str
    record: ScanRecord | None
    findings: tuple[Finding, ...]
    unchanged: bool = False


class ScanVolumes(NamedTuple):
    """The volumes of a scan."""

    channels: tuple[Volume, ...]
    masks: Masks | None


def killed_outcome(scan: RawScan) -> ScanOutcome:
    """The outcome of a scan whose process here died."""
    return lost_outcome(scan, "the process that read it was killed; give it more memory or pass --workers 1")


def lost_outcome(scan: RawScan, reason: str) -> ScanOutcome:
    """The outcome of a scan whose worker died."""
    error = UserError(f"{scan.source}: {reason}")
    return ScanOutcome(scan.name, None, tuple(error_findings(scan.name, "killed", error)))


def check(scan: RawScan, *, plan: WritePlan) -> ScanOutcome:
    """The outcome of reading, measuring and checking a scan."""
    try:
        volumes = _read_scan(scan, plan)
        if isinstance(volumes, ScanOutcome):
            return volumes
        record = _measured_record(scan, volumes, plan)
        return ScanOutcome(scan.name, record, record.findings)
    except MemoryError as error:
        return _out_of_memory(scan, error)


def unchanged_outcome(scan: RawScan, *, plan: WritePlan) -> ScanOutcome | None:
    """The outcome of a scan that was written before from the same source, or None."""
    record = records.read(plan.out, scan.name)
    if record is None or not record.is_current(plan.out, plan.scan_key(scan)):
        return None
    if not record.sample.image_hash:  # of an earlier version
        record = _with_image_hash(record, plan)
        record.write(plan.out)
    sample = record.sample.model_copy(update={"source": scan.source.as_posix()})  # it may have moved
    record = record.model_copy(update={"sample": sample})
    return ScanOutcome(scan.name, record, record.findings, unchanged=True)


def _with_image_hash(record: ScanRecord, plan: WritePlan) -> ScanRecord:
    """An earlier version's record with the hash of the image, by its fingerprint where that has it."""
    known = record.fingerprint.image_hash
    if record.fingerprint.dtype not in ("int16", "uint16"):  # of which checksums were of the stored type
        known = image_hash([read_volume(plan.out / name) for name in record.sample.images])
    sample = record.sample.model_copy(update={"image_hash": known})
    return record.model_copy(update={"sample": sample})


def write(scan: RawScan, *, plan: WritePlan) -> ScanOutcome:
    """Write the volumes of one scan and its record."""
    try:
        with private_files() if scan.is_private else nullcontext():
            return _write_files(scan, plan)
    except MemoryError as error:
        return _out_of_memory(scan, error)


def _write_files(scan: RawScan, plan: WritePlan) -> ScanOutcome:
    key = plan.scan_key(scan)  # of the files before they are read: a later change is noticed
    volumes = _read_scan(scan, plan)
    if isinstance(volumes, ScanOutcome):
        return volumes
    record = _measured_record(scan, volumes, plan)
    records.remove_scan(plan.out, scan.name)
    channels, masks = volumes
    images, labels = _file_names(scan, len(channels), plan)
    for name, channel in zip(images, channels, strict=True):
        write_volume(channel, plan.out / name)
    files = list(images)
    if masks is not None:
        for class_name, name in labels.items():
            write_volume(channels[0].with_voxels(masks[class_name].view(np.uint8)), plan.out / name)
            files.append(name)
    sizes = {name: (plan.out / name).stat().st_size for name in files}
    record = record.model_copy(update={"key": key, "files": sizes})
    record.write(plan.out)
    return ScanOutcome(scan.name, record, record.findings)


def _read_scan(scan: RawScan, plan: WritePlan) -> ScanVolumes | ScanOutcome:
    """The image and the masks of a scan, or the outcome with all errors of either."""
    problems: list[Finding] = []
    channels: tuple[Volume, ...] = ()
    masks: Masks | None = None
    try:
        channels = tuple(scan.channels())
    except (UserError, MemoryError) as error:
        problems += error_findings(scan.name, "image", _as_user_error(error, scan))
    try:
        masks = scan.labels(plan.classes, channels[0] if channels else None)
    except (UserError, MemoryError) as error:
        problems += error_findings(scan.name, "labels", _as_user_error(error, scan))
    if problems:
        return ScanOutcome(scan.name, None, (*problems, *scan.remarks()))
    return ScanVolumes(channels, masks)


def _as_user_error(error: UserError | MemoryError, scan: RawScan) -> UserError:
    if isinstance(error, UserError):
        return error
    return UserError(f"{scan.source}: not enough memory to read it; pass --workers 1 or free some")


def _out_of_memory(scan: RawScan, error: MemoryError) -> ScanOutcome:
    findings = error_findings(scan.name, "memory", _as_user_error(error, scan))
    return ScanOutcome(scan.name, None, tuple(findings))


def _measured_record(scan: RawScan, volumes: ScanVolumes, plan: WritePlan) -> ScanRecord:
    """The record of a scan, yet without key and files."""
    channels, masks = volumes
    fingerprint = measure_scan(channels, masks, exclusive=plan.exclusive)
    images, labels = _file_names(scan, len(channels), plan)
    sample = Sample(
        case=scan.case,
        day=scan.day,
        name=scan.name,
        part=scan.part,
        source=scan.source.as_posix(),
        images=images,
        labels=None if masks is None else labels,
        shape=fingerprint.shape,
        spacing_mm=fingerprint.spacing_mm,
        slices=scan.numbers,
        image_hash=fingerprint.image_hash,
    )
    findings = (*scan.remarks(masks), *checks.scan_findings(sample, fingerprint))
    return ScanRecord(key="", sample=sample, files={}, fingerprint=fingerprint, findings=findings)


def _file_names(scan: RawScan, channels: int, plan: WritePlan) -> tuple[tuple[str, ...], dict[str, str]]:
    """The files of a scan in the dataset: one a channel, numbered like nnU-Net's, and one a class."""
    stems = [scan.name] if channels == 1 else [f"{scan.name}_{i:04d}" for i in range(channels)]
    images = tuple(f"images/{stem}.nii.gz" for stem in stems)
    return images, {name: f"labels/{scan.name}/{name}.nii.gz" for name in plan.classes}
