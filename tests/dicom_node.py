"""A node for tests: in this process or one of its own, with partners that send and receive."""

import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from pydicom import dcmread
from pynetdicom import AE, evt

from volseg.dicom.node.node import Node
from volseg.dicom.node.settings import NodeSettings, listening_settings, validate_settings
from volseg.dicom.node.storage import IMAGE_CLASSES, RESULT_CLASSES
from volseg.system.signals import StopRequest

STAND_IN = (sys.executable, str(Path(__file__).with_name("contour_stand_in.py")))
SENDER, NODE, PACS = "SENDER", "VOLSEG", "PACS"
PATIENCE = 300.0
"""Seconds after which a test fails for want of what it waits for: more than a busy machine needs."""


def values(spool: Path, port: int = 1, **changes: Any) -> dict[str, Any]:
    """Settings of a node on a free port, which sends to a destination at `port`."""
    return {
        "spool": str(spool),
        "quiet_seconds": 3600,  # it is over when a test says so: by let_quiet, or NodeProcess.send
        "min_free_gb": 0,
        "drain_seconds": 20,
        "listen": {
            "ae_title": NODE,
            "port": 0,
            "callers": [{"ae_title": SENDER, "address": "127.0.0.1"}],
            "timeout_seconds": 10,
        },
        "rules": [{"name": "any-mr", "modality": "MR", "runs": ["tiny"]}],
        "destinations": [{"name": "pacs", "ae_title": PACS, "host": "127.0.0.1", "port": port}],
        "contouring": {"wait_seconds": 0.1},
        "sending": {"first_wait_seconds": 0.3, "longest_wait_seconds": 1, "timeout_seconds": 5},
        **changes,
    }


class Pacs:
    """A destination that keeps what it gets; `status` is what it answers."""

    def __init__(self, port: int = 0, context: ssl.SSLContext | None = None) -> None:
        self.received: list[Any] = []
        self.status = 0x0000
        entity = AE(ae_title=PACS)
        entity.require_called_aet = True
        for uid in RESULT_CLASSES.values():
            entity.add_supported_context(uid)
        self.server = entity.start_server(
            ("127.0.0.1", port),
            block=False,
            ssl_context=context,
            evt_handlers=[(evt.EVT_C_STORE, self._keep)],
        )
        self.port = self.server.server_address[1]

    def _keep(self, event: evt.Event) -> int:
        if self.status in (0x0000, 0xB000):
            self.received.append(event.dataset)
        return self.status

    @property
    def instances(self) -> set[str]:
        return {str(one.SOPInstanceUID) for one in self.received}

    def close(self) -> None:
        self.server.shutdown()


@contextmanager
def running_node(settings: NodeSettings, **patches: Any) -> Iterator[Node]:
    """A node in threads of this process, which is drained at the end."""
    node = Node(settings, listening_settings(settings, "test"), STAND_IN)
    request = StopRequest()
    thread = threading.Thread(target=node.run, args=(request,))
    thread.start()
    try:
        yield node
    finally:
        request.number = signal.SIGTERM
        thread.join(PATIENCE)
        assert not thread.is_alive()


def checked(given: dict[str, Any]) -> NodeSettings:
    return validate_settings(given, "test")


class NodeProcess:
    """A node in a process of its own, with the stand-in; `port` is where it listens."""

    def __init__(self, given: dict[str, Any], log: Path, **environment: str) -> None:
        config = log.with_suffix(".yaml")
        config.write_text(yaml.safe_dump(given))
        self.spool, self.log = Path(given["spool"]), log
        (self.spool / "status.json").unlink(missing_ok=True)
        command = [sys.executable, __file__, str(config)]
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=output, env={**os.environ, **environment}
            )
        wait_until(lambda: (self.spool / "status.json").exists() or self.process.poll() is not None)
        assert self.process.poll() is None, log.read_text()
        self.port = int(self.status()["listens_at"].rpartition(":")[2])

    def status(self) -> dict[str, Any]:
        return json.loads((self.spool / "status.json").read_text())

    def send(self, files: Sequence[Path]) -> list[int | None] | None:
        """The statuses of images of a series, which is complete with them."""
        quiet = self.log.with_suffix(".quiet")
        quiet.unlink(missing_ok=True)
        statuses = send(files, self.port)
        quiet.touch()
        return statuses

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self, seconds: float = PATIENCE) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


def send(
    files: Sequence[Path], port: int, *, calling: str = SENDER, called: str = NODE
) -> list[int | None] | None:
    """The statuses of files that are sent to a node; None if it rejects the association."""
    entity = AE(ae_title=calling)
    for uid in (*IMAGE_CLASSES, "1.2.840.10008.1.1"):
        entity.add_requested_context(uid)
    for file in files:
        meta = dcmread(file, stop_before_pixels=True).file_meta
        if meta.TransferSyntaxUID.is_compressed:
            entity.add_requested_context(meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID)
    association = entity.associate("127.0.0.1", port, ae_title=called)
    if not association.is_established:
        return None
    try:
        return [association.send_c_store(file).get("Status") for file in files]
    finally:
        association.release()


def wait_until(condition: Callable[[], Any], seconds: float = PATIENCE) -> None:
    """Wait for what other threads and processes do."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it has not happened"
        time.sleep(0.02)


def let_quiet(node: Node) -> None:
    """Let the quiet time of all series pass."""
    with node.store._lock:
        for series in node.store._arrivals:
            node.store._arrivals[series] -= 3600


def done_jobs(spool: Path) -> list[Path]:
    """The states of the jobs that are done, all that there was of them removed."""
    return [path for path in spool.glob("ended/*.json") if not (spool / "jobs" / path.stem).exists()]


def told(node: Node) -> dict[str, int]:
    """The number of jobs of a node by what became of them."""
    return {
        "done": len(done_jobs(node.spool.folder)),
        "dead": len(list(node.spool.dead.iterdir())),
        "open": len(list(node.spool.jobs.iterdir())),
    }


def _run_process(config: str) -> None:
    """The process of NodeProcess: no run is opened."""
    from volseg import console
    from volseg.dicom.node import node, series_store, series_watch
    from volseg.dicom.node.settings import load_settings

    console.configure_logging()
    node.TICK_SECONDS = 0.05
    quiet = Path(config).with_suffix(".quiet")
    find_quiet = series_store.SeriesStore.quiet_series
    series_store.SeriesStore.quiet_series = lambda store, _: find_quiet(store, 0) if quiet.exists() else {}
    node.contouring_identity = series_watch.contouring_identity = lambda rule: rule.name
    settings = load_settings(Path(config))
    node.run_node(settings, listening_settings(settings, config), STAND_IN)


if __name__ == "__main__":
    _run_process(sys.argv[1])
