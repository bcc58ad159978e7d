"""One raw scan, read, measured, judged, and put on disk as volumes on its native grid."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from volseg.data.dataset import Sample
from volseg.data.layouts.findings import Finding, error_findings
from volseg.data.layouts.raw_dataset import Masks, RawScan
from volseg.data.volume import Volume
from volseg.data.volume_files import write_volume
from volseg.errors import UserError
from volseg.preparation import checks, records
from volseg.preparation.fingerprint import measure_scan
from volseg.preparation.records import ScanRecord

FORMAT = 1
"""Goes up when the same source gives other files, so that older ones are made again."""


@dataclass(frozen=True)
class WritePlan:
    """What is the same for all scans of a dataset."""

    out: Path
    classes: tuple[str, ...]
    exclusive: bool

    def scan_key(self, scan: RawScan) -> str:
        """The hash of all that a scan's files depend on."""
        told = [FORMAT, self.classes, self.exclusive, scan.case, scan.day, scan.part, scan.stamp]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()


class ScanOutcome(NamedTuple):
    """What became of a scan: its record (None: it can't be used) and what there is to say of it."""

    name: str
    record: ScanRecord | None
    findings: tuple[Finding, ...]
    unchanged: bool = False


class ScanVolumes(NamedTuple):
    """A scan in memory."""

    channels: tuple[Volume, ...]
    masks: Masks | None


def killed_outcome(scan: RawScan) -> ScanOutcome:
    """The outcome of a scan whose worker died."""
    reason = "the process that read it was killed; give it more memory or pass --workers 1"
    told = error_findings(scan.name, "killed", UserError(f"{scan.source}: {reason}"))
    return ScanOutcome(scan.name, None, tuple(told))


def check(scan: RawScan, *, plan: WritePlan) -> ScanOutcome:
    """Read, measure and judge a scan, and forget its voxels."""
    try:
        read = _read_scan(scan, plan)
        return read if isinstance(read, ScanOutcome) else _measured_outcome(scan, read, plan)
    except MemoryError as error:
        return _out_of_memory(scan, error)


def unchanged_outcome(scan: RawScan, *, plan: WritePlan) -> ScanOutcome | None:
    """The outcome of a scan that was written before from just this source, or None."""
    old = records.read(plan.out, scan.name)
    if old is None or not old.is_current(plan.out, plan.scan_key(scan)):
        return None
    sample = old.sample.model_copy(update={"source": scan.source.as_posix()})  # it may have moved
    return ScanOutcome(scan.name, old.model_copy(update={"sample": sample}), old.findings, unchanged=True)


def write(scan: RawScan, *, plan: WritePlan) -> ScanOutcome:
    """Write the volumes of one scan and its record.

    Raises:
        OutputError: a file can't be written.
    """
    try:
        return _write_files(scan, plan)
    except MemoryError as error:
        return _out_of_memory(scan, error)


def _write_files(scan: RawScan, plan: WritePlan) -> ScanOutcome:
    key = plan.scan_key(scan)  # of the files as they are before they are read: a later change is seen
    read = _read_scan(scan, plan)
    if isinstance(read, ScanOutcome):
        return read
    done = _measured_outcome(scan, read, plan)
    records.remove_scan(plan.out, scan.name)
    images, labels = _file_names(scan, len(read.channels), plan)
    for name, channel in zip(images, read.channels, strict=True):
        write_volume(channel, plan.out / name)
    for organ in read.masks or ():
        mask = read.masks[organ]  # type: ignore[index]
        write_volume(read.channels[0].with_voxels(mask.view(np.uint8)), plan.out / labels[organ])
    files = [*images, *(labels.values() if read.masks is not None else ())]
    sizes = {name: (plan.out / name).stat().st_size for name in files}
    if done.record is None:
        return done
    record = done.record.model_copy(update={"key": key, "files": sizes})
    record.write(plan.out)
    return done._replace(record=record)


def _read_scan(scan: RawScan, plan: WritePlan) -> ScanVolumes | ScanOutcome:
    """The image and the masks of a scan, or everything that is wrong with either."""
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
    return ScanOutcome(
        scan.name, None, tuple(error_findings(scan.name, "memory", _as_user_error(error, scan)))
    )


def _measured_outcome(scan: RawScan, read: ScanVolumes, plan: WritePlan) -> ScanOutcome:
    """The scan's record, as yet without its key and files."""
    fingerprint = measure_scan(read.channels, read.masks, exclusive=plan.exclusive)
    images, labels = _file_names(scan, len(read.channels), plan)
    sample = Sample(
        case=scan.case,
        day=scan.day,
        name=scan.name,
        part=scan.part,
        source=scan.source.as_posix(),
        images=images,
        labels=None if read.masks is None else labels,
        shape=fingerprint.shape,
        spacing_mm=fingerprint.spacing_mm,
        slices=scan.numbers,
    )
    found = (*scan.remarks(), *checks.scan_findings(sample, fingerprint))
    record = ScanRecord(key="", sample=sample, files={}, fingerprint=fingerprint, findings=found)
    return ScanOutcome(scan.name, record, found)


def _file_names(scan: RawScan, channels: int, plan: WritePlan) -> tuple[tuple[str, ...], dict[str, str]]:
    """The files of a scan, relative to the dataset: one a channel (numbered as nnU-Net's) and one a class."""
    stems = [scan.name] if channels == 1 else [f"{scan.name}_{i:04d}" for i in range(channels)]
    images = tuple(f"images/{stem}.nii.gz" for stem in stems)
    return images, {organ: f"labels/{scan.name}/{organ}.nii.gz" for organ in plan.classes}
