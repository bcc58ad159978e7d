import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.cohort.conftest import VARIABLES
from tests.cohort.real_nodes import RealNodes

pytestmark = pytest.mark.slow
SCANS = 24
LOST = "the head of the cluster is lost; what is done stays done: run the same command again to go on"
CODE = """
import sys
from pathlib import Path
from tests.cohort.toy import ToyWork
from volseg import cli
from volseg.arguments import CohortArguments
from volseg.cohort.run import run
from volseg.errors import UserError
out, scans = Path(sys.argv[1]), int(sys.argv[2])
items = [f"{n}-" for n in range(scans) if not (out / f"{n}-.done").exists()]
try:
    results = dict(run(ToyWork(out, seconds=0.4), items, CohortArguments(sys.argv[3], out / "events.jsonl")))
except UserError as error:
    sys.exit(f"volseg: {error}")
print(sorted({result[0] for result in results.values()}), len(results))
"""


@pytest.fixture(scope="module")
def real():
    environment = VARIABLES | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1"}
    with TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as short:  # Ray puts sockets into it
        nodes = RealNodes(Path(short), environment)
        try:
            nodes.start_head()
            yield nodes
        finally:
            nodes.close()


def begin(real: RealNodes, out: Path, on: str = "ray") -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", CODE, str(out), str(SCANS), on],
        env={**real.environment, "RAY_ADDRESS": real.address},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(driver: subprocess.Popen, out: Path, count: int) -> None:
    end = time.monotonic() + 180
    while len([*out.glob("*.done")]) < count:
        if driver.poll() is not None or time.monotonic() > end:
            driver.kill()
            raise AssertionError(driver.communicate())
        time.sleep(0.1)


def test_the_driver_survives_each_worker_node_and_ends_with_a_line_without_the_head(real, tmp_path) -> None:
    real.add_node()
    real.add_node()
    for lost in range(2):
        out = tmp_path / str(lost)
        out.mkdir()
        driver = begin(real, out)
        wait_for(driver, out, 5)
        real.kill(real.nodes.pop(0))
        if not lost:
            real.add_node()
        told, talk = driver.communicate(timeout=300)
        assert (told, driver.returncode) == (f"['done'] {SCANS}\n", 0), talk
        if lost:
            real.add_node()

    out = tmp_path / "client"
    out.mkdir()
    told, talk = begin(real, out, real.client_address).communicate(timeout=300)
    assert told == f"['done'] {SCANS}\n", talk

    out = tmp_path / "head"
    out.mkdir()
    driver = begin(real, out)
    wait_for(driver, out, 5)
    real.kill(real.head)
    told, talk = driver.communicate(timeout=180)

    assert driver.returncode == 1
    assert talk.splitlines() == [f"volseg: {LOST}"]
