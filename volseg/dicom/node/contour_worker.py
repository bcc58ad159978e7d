"""The part of the node that contours: one job at a time, again where a process was killed."""

import logging
import threading
import time
from dataclasses import dataclass, field

from volseg.dicom.node.contouring import Contourer, Outcome
from volseg.dicom.node.delivery import plan_deliveries
from volseg.dicom.node.job import Job
from volseg.dicom.node.job_queue import JobQueue
from volseg.dicom.node.settings import GIGABYTE, NodeSettings
from volseg.dicom.node.silence import describe_error

log = logging.getLogger(__name__)


@dataclass
class Progress:
    """What the threads of a node tell each other: when each was last alive, and what to stop."""

    draining: threading.Event = field(default_factory=threading.Event)
    stopped: threading.Event = field(default_factory=threading.Event)
    contouring_seen: float = field(default_factory=time.time)
    sending_seen: float = field(default_factory=time.time)
    last_success: float = 0
    last_failure: float = 0


class ContourWorker:
    """Contours the jobs that wait, one at a time."""

    def __init__(
        self, settings: NodeSettings, queue: JobQueue, contourer: Contourer, progress: Progress
    ) -> None:
        self.settings = settings
        self.queue = queue
        self.contourer = contourer
        self.progress = progress

    def work_once(self) -> bool:
        """Contour the job whose turn it is; whether there was one."""
        self.progress.contouring_seen = time.time()
        for unsettled in self.queue.in_state("running"):  # what became of it could not be written
            self._try_again(unsettled, "its state was lost")
        job = self.queue.next_job("waiting", now=time.time())
        if job is None or self.progress.draining.is_set():
            return False
        rule = next((one for one in self.settings.rules if one.name == job.rule), None)
        if rule is None:
            self._fail(job, f"the rule {job.rule or '?'} is no more among the settings")
            return True
        job = self.queue.update(job.model_copy(update={"state": "running"}))
        log.info("job %s: contouring begins", job.id)
        try:
            outcome = self.contourer.contour(self.queue.folder(job), rule, self._is_stopped)
            self._settle(job, outcome)
        except Exception as error:  # of a result that is no DICOM, or of a drive
            log.warning("job %s: %s", job.id, describe_error(error))
            self._try_again(job, "an error of volseg")
        return True

    def _is_stopped(self) -> bool:
        self.progress.contouring_seen = time.time()
        return self.progress.stopped.is_set()

    def _settle(self, job: Job, outcome: Outcome) -> None:
        """Give a job the state that follows from how contouring ended."""
        if outcome.unlike:
            log.warning("job %s: unlike the scans of training: %s", job.id, "; ".join(outcome.unlike))
        if outcome.kind == "done":
            self._begin_sending(job)
        elif outcome.kind == "stopped":
            self.queue.update(job.model_copy(update={"state": "waiting"}))
            log.info("job %s: put back into the queue", job.id)
        elif outcome.kind == "refused" and not self._is_disk_full():
            self._fail(job, outcome.reason)
        else:
            self._try_again(job, outcome.reason)

    def _begin_sending(self, job: Job) -> None:
        deliveries = plan_deliveries(self.queue.folder(job), self.settings.destinations_of(job.rule))
        update = {"state": "sending", "deliveries": deliveries, "sending_since": time.time(), "next_try": 0.0}
        self.queue.update(job.model_copy(update=update))
        self.progress.last_success = time.time()
        log.info("job %s: contoured, %d results to send", job.id, len(deliveries))

    def _is_disk_full(self) -> bool:
        """Whether the space that images must leave free is gone: then a refusal says little."""
        return self.queue.spool.free_bytes() < self.settings.min_free_gb * GIGABYTE

    def _try_again(self, job: Job, reason: str) -> None:
        limits, attempts = self.settings.contouring, job.attempts + 1
        job = job.model_copy(update={"attempts": attempts})
        if attempts >= limits.attempts:
            self._fail(job, f"{reason}; tried {attempts} times")
            return
        wait = limits.wait_seconds * 2.0 ** (attempts - 1)
        log.warning("job %s: %s; tried again in %.0f s", job.id, reason, wait)
        self.queue.update(job.model_copy(update={"state": "waiting", "next_try": time.time() + wait}))

    def _fail(self, job: Job, reason: str) -> None:
        self.progress.last_failure = time.time()
        self.queue.bury(job, reason)
        log.error("job %s: failed, moved to the dead letters", job.id)
