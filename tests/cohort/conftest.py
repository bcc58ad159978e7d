"""One cluster on the loopback of this machine for all tests with Ray: a head and two nodes of a core each."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NODE = {"num_cpus": 1, "memory": 2 * 2**30, "object_store_memory": 80 * 2**20}
VARIABLES = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # listens on the loopback alone
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "c0" * 32,
    "PYTHONPATH": str(ROOT),
}


class TwoNodes:
    """The cluster; a test that kills a node leaves it to the next to have two again."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self.nodes: list[Any] = []
        self.complete()

    @property
    def address(self) -> str:
        return self._cluster.address

    def complete(self) -> None:
        """Add what is missing of two nodes."""
        while len(self.nodes) < 2:
            self.nodes.append(self._cluster.add_node(**NODE, wait=True))

    def kill_node(self) -> None:
        """Kill a node, as when its power is cut."""
        self._cluster.remove_node(self.nodes.pop(), allow_graceful=False)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[TwoNodes]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in VARIABLES.items():
            patch.setenv(name, value)
        pytest.importorskip("ray", reason="needs the extra ray")
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0})
        try:
            yield TwoNodes(cluster)
        finally:
            cluster.shutdown()


@pytest.fixture
def two_nodes(ray_cluster: TwoNodes, monkeypatch) -> TwoNodes:
    """The cluster, which `--on ray` finds by its address."""
    ray_cluster.complete()
    monkeypatch.setenv("RAY_ADDRESS", ray_cluster.address)
    assert os.environ["RAY_AUTH_MODE"] == "token"
    return ray_cluster
