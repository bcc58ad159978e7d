"""The node: receives, contours and sends in threads of one process, until it is told to stop."""

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence

from volseg.dicom.node.contour_worker import ContourWorker, Progress
from volseg.dicom.node.contouring import INFER, Contourer
from volseg.dicom.node.delivery import Sender
from volseg.dicom.node.job_queue import JobQueue
from volseg.dicom.node.listener import Listener
from volseg.dicom.node.receiver import Receiver
from volseg.dicom.node.series_store import SeriesStore
from volseg.dicom.node.series_watch import SeriesWatch, contouring_identity
from volseg.dicom.node.settings import GIGABYTE, Listen, NodeSettings
from volseg.dicom.node.silence import describe_error, silence_libraries
from volseg.dicom.node.spool import Spool, use_private_modes
from volseg.dicom.node.status import NodeStatus, State
from volseg.errors import UserError
from volseg.system.locks import folder_lock
from volseg.system.signals import StopRequest, deferred_signals

TICK_SECONDS = 0.2
PRUNE_SECONDS, STATUS_SECONDS, STOP_SECONDS = 60.0, 1.0, 30.0
BUSY = "another node works with this spool; stop it first, or name another spool"
log = logging.getLogger(__name__)


class Node:
    """A node with all its parts; `command` stands in for `volseg infer` in tests."""

    def __init__(self, settings: NodeSettings, listen: Listen, command: Sequence[str] = INFER) -> None:
        self.settings = settings
        self.listen = listen
        self.started = time.time()
        self.spool = Spool.open(settings.spool)
        before = NodeStatus.read(settings.spool)
        self.progress = Progress()
        if before:
            self.progress.last_success, self.progress.last_failure = before.last_success, before.last_failure
        self.store = SeriesStore(self.spool)
        self.queue = JobQueue(self.spool)
        self.watch = SeriesWatch(settings, self.store, self.queue)
        contourer = Contourer(settings.contouring, command)
        self.worker = ContourWorker(settings, self.queue, contourer, self.progress)
        self.sender = Sender(settings, self.queue, listen.ae_title)
        receiver = Receiver(self.store, listen, min_free_gb=settings.min_free_gb)
        self.listener = Listener(listen, receiver)
        self._pruned = 0.0
        self._written: tuple[State | None, float] = None, 0.0

    def run(self, request: StopRequest) -> None:
        """Work until a signal has come, then drain."""
        contouring = threading.Thread(target=self._repeat, args=(self.worker.work_once,), daemon=True)
        sending = threading.Thread(target=self._repeat, args=(self._send_once, contouring), daemon=True)
        threads = (contouring, sending)
        for thread in threads:
            thread.start()
        log.info("%s listens at %s:%d", self.listen.ae_title, self.listen.address, self.listener.port)
        while request.number is None:
            self._guarded(self._look_around)
            self._write_status("running")
            time.sleep(TICK_SECONDS)
        self._drain(threads)

    def _look_around(self) -> None:
        self.watch.decide_quiet_series(self.settings.quiet_seconds)
        if time.time() - self._pruned >= PRUNE_SECONDS:
            self._pruned = time.time()
            kept = self.settings.retention
            self.store.remove_older(kept.images_hours)
            self.queue.prune(dead_days=kept.dead_days, remember_days=kept.remember_days)
        self.queue.load_new()

    def _repeat(self, step: Callable[[], bool], after: threading.Thread | None = None) -> None:
        """Do a step again and again until the node drains, `after` has ended and nothing is left."""
        while not self.progress.stopped.is_set():
            before_ended = after is None or not after.is_alive()
            if not self._guarded(step):
                if self.progress.draining.is_set() and before_ended:
                    return
                time.sleep(TICK_SECONDS)

    def _guarded(self, step: Callable[[], bool | None]) -> bool:
        """Do a step; an error, as of a full disk, ends the step and not the node."""
        try:
            return bool(step())
        except UserError as error:
            log.warning("%s", error)
        except Exception as error:  # the other parts must go on
            log.warning("an error of volseg: %s", describe_error(error))
        time.sleep(STATUS_SECONDS)
        return False

    def _send_once(self) -> bool:
        self._beat_sending()
        job = self.queue.next_job("sending", now=time.time())
        if job is None:
            return False
        self.sender.send_due(job, self._beat_sending)
        return True

    def _beat_sending(self) -> None:
        self.progress.sending_seen = time.time()

    def _write_status(self, state: State) -> None:
        """Write how the node is, at most once a second while nothing changes."""
        if state == self._written[0] and time.monotonic() - self._written[1] < STATUS_SECONDS:
            return
        self._written = state, time.monotonic()
        self._guarded(lambda: self._status(state).write(self.spool.folder))

    def _status(self, state: State) -> NodeStatus:
        spool, queue, progress = self.spool, self.queue, self.progress
        return NodeStatus(
            state=state,
            pid=os.getpid(),
            listens_at=f"{self.listen.ae_title} at {self.listen.address}:{self.listener.port}",
            started=self.started,
            updated=time.time(),
            receiving=self.store.receiving,
            waiting=len(queue.in_state("waiting")),
            running=len(queue.in_state("running")),
            sending=len(queue.in_state("sending")),
            done=sum(1 for _ in spool.ended.glob("*.json")),
            dead=sum(1 for _ in spool.dead.iterdir()),
            last_success=progress.last_success,
            last_failure=progress.last_failure,
            free_bytes=spool.free_bytes(),
            min_free_bytes=int(self.settings.min_free_gb * GIGABYTE),
            contouring_seen=progress.contouring_seen,
            sending_seen=progress.sending_seen,
        )

    def _drain(self, threads: Sequence[threading.Thread]) -> None:
        """Take nothing new, finish the job in work or put it back, and say that the node is stopped."""
        seconds = self.settings.drain_seconds
        log.info("draining: no new associations; the job in work has %g s", seconds)
        self.progress.draining.set()
        closing = threading.Thread(target=self.listener.close, args=(seconds,), daemon=True)
        closing.start()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and any(thread.is_alive() for thread in (*threads, closing)):
            self._write_status("draining")
            time.sleep(TICK_SECONDS)
        self.progress.stopped.set()
        for thread in (*threads, closing):
            thread.join(STOP_SECONDS)
        self._write_status("stopped")
        log.info("stopped; what was not done is done after the next start")


def run_node(settings: NodeSettings, listen: Listen, command: Sequence[str] = INFER) -> None:
    """Run a node until Ctrl-C or SIGTERM; a second signal acts at once.

    Raises:
        UserError: a run or the port can't be used, others may read the spool, or another node works there.
    """
    use_private_modes()
    silence_libraries()
    for rule in settings.rules:
        contouring_identity(rule)
    with folder_lock(settings.spool, busy=BUSY), deferred_signals() as request:
        Node(settings, listen, command).run(request)
