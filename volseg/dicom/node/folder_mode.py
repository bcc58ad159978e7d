"""A folder of DICOM files contoured by the rules of a node, once and without a network."""

import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from volseg.dicom.node.contour_worker import ContourWorker, Progress
from volseg.dicom.node.contouring import INFER, Contourer
from volseg.dicom.node.image_header import read_header
from volseg.dicom.node.job import Job
from volseg.dicom.node.job_queue import RESULTS, JobQueue
from volseg.dicom.node.series_store import SeriesStore
from volseg.dicom.node.series_watch import SeriesWatch
from volseg.dicom.node.settings import NodeSettings
from volseg.dicom.node.silence import silence_libraries
from volseg.dicom.node.spool import Spool, use_private_modes
from volseg.errors import UserError
from volseg.system.json_files import read_json

SPOOL = ".spool"
WAIT_SECONDS = 0.2
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FolderOutcome:
    """What became of a folder: folders of results, reasons of failures, numbers of images and other files."""

    results: tuple[Path, ...]
    failures: tuple[str, ...]
    images: int
    others: int


def contour_folder(
    settings: NodeSettings, source: Path, out: Path, *, command: Sequence[str] = INFER
) -> FolderOutcome:
    """Contour the series below a folder by the rules, and write each one's results to a folder in `out`.

    Raises:
        UserError: no such folder, `out` holds something, or it can't be written.
    """
    use_private_modes()
    silence_libraries()
    if not source.is_dir():
        raise UserError(f"--folder {source}: no such folder")
    if out.exists() and any(out.iterdir()):
        raise UserError(f"--out {out}: holds something; name a new or empty folder")
    out.mkdir(parents=True, exist_ok=True)
    spool = Spool.open(out / SPOOL)
    try:
        store, queue = SeriesStore(spool), JobQueue(spool)
        images, others = _take_files(source, store)
        SeriesWatch(settings, store, queue).decide_quiet_series(0.0)
        worker = ContourWorker(settings, queue, Contourer(settings.contouring, command), Progress())
        while queue.in_state("waiting") or queue.in_state("running"):
            if not worker.work_once():
                time.sleep(WAIT_SECONDS)
        results = tuple(_hand_over(queue, job, out) for job in queue.in_state("sending"))
        dead = [read_json(folder / Job.file, Job) for folder in spool.dead.iterdir()]
        failures = tuple(
            f"a series of {job.slices} slices by the rule {job.rule}: {job.reason}" for job in dead
        )
        return FolderOutcome(results, failures, images, others)
    finally:
        shutil.rmtree(spool.folder, ignore_errors=True)


def _take_files(source: Path, store: SeriesStore) -> tuple[int, int]:
    """Copy the images below a folder into the spool; their number, and that of other files.

    Links are not followed. Images that differ are all copied, also where they share a UID.
    """
    images = others = 0
    for file in sorted(source.rglob("*")):
        if file.is_symlink() or not file.is_file():
            continue
        header = read_header(file)
        if header is None:
            others += 1
            continue
        store.add_image(header.series_uid, header.sop_instance_uid, (file.read_bytes(),))
        images += 1
    return images, others


def _hand_over(queue: JobQueue, job: Job, out: Path) -> Path:
    """Move the results of a job to a folder of their own, named by the rule and a number."""
    number = 1
    while (target := out / f"{job.rule}-{number}").exists():
        number += 1
    (queue.folder(job) / RESULTS).rename(target)
    return target
