"""The connection with a Ray cluster: one that runs, or one of this machine, which nobody else can reach."""

import atexit
import logging
import os
import secrets
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from volseg.errors import UserError
from volseg.system.hardware import available_cores

if TYPE_CHECKING:
    from volseg.cohort.ray_cluster import Cluster

MISSING = '--on {}: needs Ray, which is not installed; pip install "volseg[ray]"'
ADDRESS = "RAY_ADDRESS"
STORE_BYTES = 100 * 2**20  # of shared memory: names and records travel, never volumes
QUIET = {"RAY_USAGE_STATS_ENABLED": "0"}
NO_ENTRY = (
    "the cluster asks for its token: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH as "
    "on its head"
)


@contextmanager
def connected(on: str) -> Iterator["Cluster"]:
    """A cluster: that of the address, or of RAY_ADDRESS, else this machine alone; it is left at the end.

    Where this process is connected already, that cluster is taken and not left.

    Raises:
        UserError: no Ray, or a cluster that can't be reached.
    """
    address = on if "://" in on else os.environ.get(ADDRESS, "")
    with _environment(QUIET if address else QUIET | _alone()), _kept_signals():
        ray = _load_ray(on)
        own = not ray.is_initialized()
        if own:
            _connect(ray, on, address)
    from volseg.cohort.ray_cluster import Cluster

    cluster = Cluster(_head(ray, address))
    watch = threading.Thread(target=cluster.watch_head, daemon=True)
    watch.start()
    try:
        yield cluster
    finally:
        cluster.stop_watching()
        if cluster.is_lost:
            _leave_without_head(ray)
        elif own:
            ray.shutdown()


def _alone() -> dict[str, str]:
    """What keeps a cluster on the loopback of this machine, and its other users out."""
    return {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": _own_token(),
    }


@cache
def _own_token() -> str:
    """A secret of this process, which Ray reads once."""
    return secrets.token_hex(32)


def _load_ray(on: str) -> Any:
    try:
        import ray
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise UserError(MISSING.format(on)) from error
    with suppress(AttributeError):  # it has no option to print nothing: stdout is for our results
        ray._private.worker._worker_logs_enabled = False  # noqa: SLF001
    return ray


def _connect(ray: Any, on: str, address: str) -> None:
    """Connect with a cluster, or start one of this machine alone."""
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    try:
        if address:
            ray.init(address, **quiet)
            return
        cores = {"num_cpus": available_cores(), "object_store_memory": STORE_BYTES}
        ray.init("local", include_dashboard=False, **cores, **quiet)
        _check_loopback(ray)
    except (ray.exceptions.RayError, ConnectionError, RuntimeError, OSError) as error:
        raise UserError(f"--on {on}: {_reason(error, address)}") from error


def _check_loopback(ray: Any) -> None:
    """Leave a cluster of this machine that others could reach, as where Ray was loaded before for another."""
    host = ray.util.get_node_ip_address()
    if not host.startswith("127."):
        ray.shutdown()
        raise ConnectionError(f"Ray would listen on {host}; set RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0")


def _reason(error: BaseException, address: str) -> str:
    """Why a cluster can't be reached, in a line."""
    texts, cause = [], error
    while cause is not None:
        texts.append(str(cause))
        cause = cause.__cause__ or cause.__context__  # type: ignore[assignment]
    if any("InvalidAuthToken" in text or "oken is missing" in text for text in texts):
        return NO_ENTRY
    told = " ".join(texts[0].split())
    return f"no cluster at {address}: {told}" if address else told


def _head(ray: Any, address: str) -> tuple[str, int]:
    """Where the head listens."""
    place = address.partition("://")[2] or ray.get_runtime_context().gcs_address
    host, _, port = place.rpartition(":")
    return host.strip("[]"), int(port)


def _leave_without_head(ray: Any) -> None:
    """Have this process end by itself: Ray would wait for a minute, then end it with lines of its own.

    Its libraries crash when they are unloaded meanwhile, so they are not.
    """

    def end() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)

    atexit.unregister(ray.shutdown)
    atexit.register(end)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Variables that Ray and what it starts read, where they are not set."""
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def _kept_signals() -> Iterator[None]:
    """Keep what this process does on SIGTERM, which Ray would replace."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        with suppress(TypeError):  # not set from Python
            signal.signal(signal.SIGTERM, before)
