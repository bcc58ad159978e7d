"""The queue of jobs on the disk: each state is a file that is whole at any moment, so a kill loses none."""

import secrets
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from volseg.dicom.node.job import Job, State
from volseg.dicom.node.spool import Spool, discard_folder, link_or_copy, move_folder, sync_folder
from volseg.errors import UserError
from volseg.system.json_files import read_json, write_json

IMAGES, RESULTS = "images", "results"
MOST_INTERRUPTIONS = 10
"""A job in which the node ended so often may be what ends it."""


class JobQueue:
    """The jobs that are not done, from their files; each is changed by one thread at a time."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self._lock = threading.Lock()
        self._moving = threading.RLock()  # folders come and go by one thread at a time
        self._jobs: dict[str, Job] = {}
        self.load_new()

    def load_new(self) -> None:
        """Read the jobs that the queue does not know: at the start all, later those that are tried again."""
        with self._moving:
            for folder in self.spool.jobs.iterdir():
                if folder.name not in self._jobs:
                    self._load(folder)

    def _load(self, folder: Path) -> None:
        if (self.spool.ended / f"{folder.name}.json").exists():  # done; killed before it was removed
            discard_folder(folder, self.spool)
            return
        try:
            job = read_json(folder / Job.file, Job)
        except UserError:  # a failing drive
            job = Job(id=folder.name, rule="", slices=0, created=time.time())
            self.bury(job, "its state could not be read")
            return
        if job.state == "running":
            job = job.model_copy(update={"state": "waiting", "interruptions": job.interruptions + 1})
        if job.interruptions >= MOST_INTERRUPTIONS:
            self.bury(job, f"the node ended {job.interruptions} times while it was contoured")
        elif job.state == "failed":
            self.bury(job, job.reason)
        else:
            self.update(job)

    def is_known(self, job_id: str) -> bool:
        """Whether there is such a job, done, failed or not."""
        places = (self.spool.jobs / job_id, self.spool.dead / job_id, self.spool.ended / f"{job_id}.json")
        return any(place.exists() for place in places)

    def create(self, job: Job, images: Sequence[Path]) -> None:
        """Add a job with its own names of the images, all at once."""
        partial = self.spool.incoming / secrets.token_hex(8)
        try:
            _write_job(job, images, partial)
        except BaseException:  # an image that was just replaced, or a full disk
            shutil.rmtree(partial, ignore_errors=True)
            raise
        with self._moving:
            partial.rename(self.folder(job))
            sync_folder(self.spool.jobs)
            with self._lock:
                self._jobs[job.id] = job

    def folder(self, job: Job) -> Path:
        """The folder of a job that is not done."""
        return self.spool.jobs / job.id

    def next_job(self, state: State, *, now: float) -> Job | None:
        """The oldest job in a state whose time has come."""
        with self._lock:
            ready = [job for job in self._jobs.values() if job.state == state and job.next_try <= now]
        return min(ready, key=lambda job: job.created, default=None)

    def in_state(self, state: State) -> list[Job]:
        """The jobs in a state."""
        with self._lock:
            return [job for job in self._jobs.values() if job.state == state]

    def update(self, job: Job) -> Job:
        """Write a job's state, and return it."""
        job.write(self.folder(job))
        with self._lock:
            self._jobs[job.id] = job
        return job

    def finish(self, job: Job, *, keep_results: bool) -> None:
        """End a job whose results were delivered: only its state is kept, or the results too."""
        folder = self.folder(job)
        ended = job.model_copy(update={"state": "done", "ended": time.time()})
        with self._moving:
            if keep_results and (folder / RESULTS).exists():
                move_folder(folder / RESULTS, self.spool.ended / job.id)
            write_json(self.spool.ended / f"{job.id}.json", ended)
            sync_folder(self.spool.ended)
            discard_folder(folder, self.spool)
            self._forget(job)

    def bury(self, job: Job, reason: str) -> None:
        """Move a job to the dead letters, with the reason."""
        update = {"state": "failed", "reason": reason, "ended": time.time()}
        with self._moving:
            job.model_copy(update=update).write(self.folder(job))
            move_folder(self.folder(job), self.spool.dead / job.id)
            self._forget(job)

    def _forget(self, job: Job) -> None:
        with self._lock:
            self._jobs.pop(job.id, None)

    def prune(self, *, dead_days: float, remember_days: float) -> None:
        """Remove dead letters and states of jobs that ended so long ago."""
        now = time.time()
        for folder in self.spool.dead.iterdir():
            if folder.stat().st_mtime < now - dead_days * 86400:
                discard_folder(folder, self.spool)
        for file in self.spool.ended.glob("*.json"):
            if file.stat().st_mtime < now - remember_days * 86400:
                shutil.rmtree(file.with_suffix(""), ignore_errors=True)
                file.unlink()


def _write_job(job: Job, images: Sequence[Path], folder: Path) -> None:
    """Write the folder of a job to the disk, for good once this returns."""
    (folder / IMAGES).mkdir(parents=True)
    for image in images:
        link_or_copy(image, folder / IMAGES / image.name)
    job.write(folder)
    sync_folder(folder / IMAGES)
    sync_folder(folder)


def retry_dead(spool: Spool, job_ids: Sequence[str]) -> list[str]:
    """Put dead letters back into the queue, by their ids or (`all`) all; a running node finds them.

    Raises:
        UserError: no such dead letter: all of them.
    """
    there = sorted(folder.name for folder in spool.dead.glob("*"))
    chosen = there if list(job_ids) == ["all"] else list(job_ids)
    if unknown := [name for name in chosen if name not in there]:
        known = ", ".join(there) or "none"
        raise UserError(f"--retry: no dead letter {', '.join(unknown)} (there are: {known})")
    for name in chosen:
        job = read_json(spool.dead / name / Job.file, Job)
        state: State = "sending" if job.deliveries else "waiting"
        fresh = tuple(one.model_copy(update={"attempts": 0, "next_try": 0.0}) for one in job.deliveries)
        update = {
            "state": state, "attempts": 0, "interruptions": 0, "next_try": 0.0, "sending_since": time.time(),
            "deliveries": fresh, "reason": "", "ended": 0.0,
        }  # fmt: skip
        job.model_copy(update=update).write(spool.dead / name)
        move_folder(spool.dead / name, spool.jobs / name)
    return chosen
