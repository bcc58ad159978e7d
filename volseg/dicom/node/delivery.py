"""Results on their way to destinations by C-STORE, again and again until they are taken."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from volseg.dicom.node.job import Delivery, Job
from volseg.dicom.node.job_queue import RESULTS, JobQueue
from volseg.dicom.node.settings import Destination, NodeSettings, Sending
from volseg.dicom.node.silence import describe_error
from volseg.dicom.node.storage import RESULT_CLASSES, SENT_SYNTAXES
from volseg.dicom.node.tls import client_context

SUCCESS, WARNINGS = 0x0000, (0xB000, 0xB006, 0xB007)
"""Statuses of C-STORE by which an object was taken: by the warnings with elements changed or left out."""
log = logging.getLogger(__name__)


def plan_deliveries(folder: Path, destinations: Sequence[Destination]) -> tuple[Delivery, ...]:
    """Where each result of a job is to go."""
    kinds = {file: read_kind(file) for file in sorted((folder / RESULTS).iterdir())}
    return tuple(
        Delivery(file=f"{RESULTS}/{file.name}", kind=kind, destination=one.name)
        for one in destinations
        for file, kind in kinds.items()
        if kind in one.kinds
    )


def read_kind(file: Path) -> str:
    """The kind of a result: RTSTRUCT, SEG, or empty for another."""
    from pydicom import dcmread

    uid = str(dcmread(file, specific_tags=["SOPClassUID"], stop_before_pixels=True).SOPClassUID)
    return next((kind for kind, known in RESULT_CLASSES.items() if known == uid), "")


@dataclass(frozen=True)
class Sender:
    """Sends the results of jobs; `ae_title` is the node's own."""

    settings: NodeSettings
    queue: JobQueue
    ae_title: str

    def send_due(self, job: Job, beat: Callable[[], None]) -> Job:
        """Try the deliveries of a job whose time has come; the job with what became of them."""
        for destination in self.settings.destinations:
            due = [
                one for one in job.open_deliveries
                if one.destination == destination.name and one.next_try <= time.time()
            ]  # fmt: skip
            if due:
                job = self._send_to(destination, job, due, beat)
        return self._end_or_wait(job)

    def _send_to(
        self, destination: Destination, job: Job, due: Sequence[Delivery], beat: Callable[[], None]
    ) -> Job:
        files = {self.queue.folder(job) / one.file: one for one in due}
        problems: Mapping[Path, str] = {}
        try:
            problems = self._store(destination, list(files), beat)
        except Exception as error:  # a partner may do anything; the results must stay
            log.warning("job %s: sending to %s: %s", job.id, destination.name, describe_error(error))
        for file, delivery in files.items():
            tried = _after_try(delivery, problems.get(file, "the association broke"), self.settings.sending)
            if tried.delivered:
                log.info("job %s: %s delivered to %s", job.id, tried.kind, destination.name)
            else:
                log.warning(
                    "job %s: %s not delivered to %s: %s", job.id, tried.kind, destination.name, tried.problem
                )
            job = self.queue.update(job.with_delivery(tried))
        return job

    def _store(
        self, destination: Destination, files: list[Path], beat: Callable[[], None]
    ) -> dict[Path, str]:
        """The problem of each file with a destination; the empty text for one that was taken."""
        from pynetdicom import AE

        entity = AE(ae_title=self.ae_title)
        seconds = self.settings.sending.timeout_seconds
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = seconds
        entity.connection_timeout = seconds
        for kind in destination.kinds:
            for syntax in SENT_SYNTAXES[kind]:
                entity.add_requested_context(RESULT_CLASSES[kind], syntax)
        secured = (client_context(destination.tls), destination.host) if destination.tls else None
        association = entity.associate(
            destination.host, destination.port, ae_title=destination.ae_title, tls_args=secured
        )
        if not association.is_established:
            reason = "rejected the association" if association.is_rejected else "can't be reached"
            return dict.fromkeys(files, reason)
        problems = {}
        for file in files:
            beat()
            try:
                problems[file] = _status_problem(association.send_c_store(file).get("Status"))
            except (ValueError, RuntimeError):  # another transfer syntax only, or the association broke
                problems[file] = "can't be sent: the association broke, or takes no such objects"
        association.release()
        return problems

    def _end_or_wait(self, job: Job) -> Job:
        """Done where all has arrived; dead where it has been tried for too long; else later again."""
        hours = self.settings.sending.give_up_hours
        names = {one.name for one in self.settings.destinations}
        gone = [one for one in job.open_deliveries if one.destination not in names]
        for one in gone:
            log.warning(
                "job %s: %s is no destination any more; %s is not sent there",
                job.id,
                one.destination,
                one.kind,
            )
        left = [one for one in job.open_deliveries if one not in gone]
        if not left:
            self.queue.finish(job, keep_results=self.settings.retention.keep_results)
            log.info("job %s: done", job.id)
        elif time.time() - job.sending_since > hours * 3600:
            told = "; ".join(f"{one.kind} to {one.destination}: {one.problem}" for one in left)
            self.queue.bury(job, f"not delivered within {hours:g} h: {told}")
            log.error("job %s: not delivered within %g h, moved to the dead letters", job.id, hours)
        else:
            soonest = min(one.next_try for one in left)
            return self.queue.update(job.model_copy(update={"next_try": soonest}))
        return job


def _status_problem(status: int | None) -> str:
    """What a status of C-STORE says against an object; nothing if it was taken."""
    if status is None:
        return "gave no answer"
    if status == SUCCESS or status in WARNINGS:
        if status in WARNINGS:
            log.warning("an object was taken with the warning 0x%04X", status)
        return ""
    return f"answered 0x{status:04X}"


def _after_try(delivery: Delivery, problem: str, sending: Sending) -> Delivery:
    attempts = delivery.attempts + 1
    wait = min(sending.longest_wait_seconds, sending.first_wait_seconds * 2.0 ** min(attempts - 1, 40))
    update = {
        "delivered": not problem,
        "problem": problem,
        "attempts": attempts,
        "next_try": time.time() + wait,
    }
    return delivery.model_copy(update=update)
