"""Nodes as `ray start` starts them on machines: processes with ports and folders of their own."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil

RAY = (sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats")
SMALL = ("--log-color=false", "--memory=2147483648", "--object-store-memory=83886080")
START_S = 240.0


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("", 0))
        return one.getsockname()[1]


class RealNodes:
    """A head without cores, and worker nodes of one core each."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder, self._started = folder, list[psutil.Popen]()
        self.nodes = list[psutil.Popen]()
        self.environment = {**os.environ, **environment}

    def start_head(self) -> None:
        port = free_port()
        self.client_port = free_port()
        head = ("--head", f"--port={port}", f"--temp-dir={self._folder}", "--num-cpus=0")
        more = ("--include-dashboard=false", f"--ray-client-server-port={self.client_port}")
        self.head = self._start(*head, *more)
        host = self._log(1).split("Local node IP: ")[1].split()[0]
        self.address = f"{host}:{port}"
        self.client_address = f"ray://{host}:{self.client_port}"

    def add_node(self) -> None:
        self.nodes.append(self._start(f"--address={self.address}", "--num-cpus=1"))

    def kill(self, node: psutil.Popen) -> None:
        """Kill all of a node, as when its power is cut."""
        for process in [*node.children(recursive=True), node]:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue

    def close(self) -> None:
        for node in reversed(self._started):
            if node.is_running():
                self.kill(node)

    def _start(self, *arguments: str) -> psutil.Popen:
        number = len(self._started) + 1
        with (self._folder / f"{number}.log").open("w") as log:
            node = psutil.Popen(
                [*RAY, *SMALL, *arguments], env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )
        self._started.append(node)
        end = time.monotonic() + START_S
        while "Ray runtime started" not in self._log(number):
            assert node.poll() is None, self._log(number)
            assert time.monotonic() < end, self._log(number)
            time.sleep(0.2)
        return node

    def _log(self, number: int) -> str:
        return (self._folder / f"{number}.log").read_text()
