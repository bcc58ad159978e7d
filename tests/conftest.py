"""What every test may use: the real data where it is, and quiet, repeatable property tests."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A shell that starts the tests in the background has them ignore Ctrl-C, and so their children.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Processes that tests start are forked from one that has loaded what they need: once, not each of them anew.
if "forkserver" in multiprocessing.get_all_start_methods():
    preload = ["torch", "torch._dynamo", "monai.networks.nets", "cv2", "nibabel"]
    multiprocessing.set_forkserver_preload(preload)

# No test cuts the power; waiting for the disk at each small file would double the time of many.
os.fsync = lambda _descriptor: None

REPOSITORY = Path(__file__).resolve().parents[1]
ALL_CORES = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()

settings.register_profile(
    "repeatable",
    derandomize=True,
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("repeatable")


LONGEST = (
    "training/test_launcher", "end_to_end/test_real_scans", "preparation/test_prepare_again",
    "training/test_together", "end_to_end/", "test_gpu_benchmark", "viewer/test_s",
    "training/", "test_docs",
)  # fmt: skip
"""The files of tests that take most of the time, the longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest come first, so that no process is left alone with them at the end."""

    def place(item: pytest.Item) -> int:
        file = item.nodeid.partition("::")[0]
        return next((number for number, name in enumerate(LONGEST) if name in file), len(LONGEST))

    items.sort(key=place)


def pytest_configure(config: pytest.Config) -> None:
    """Hide GPUs from all tests and what they start, but from `pytest -m gpu`; share the cores.

    Each of several processes that share the tests keeps to its own cores: their threads don't collide.
    """
    if config.getoption("markexpr") != "gpu":
        os.environ.update(CUDA_VISIBLE_DEVICES="", HIP_VISIBLE_DEVICES="-1")  # before torch is loaded
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if worker and hasattr(os, "sched_setaffinity"):
        own = sorted(ALL_CORES)[int(worker.removeprefix("gw")) :: workers]
        os.sched_setaffinity(0, own or ALL_CORES)


@pytest.fixture(scope="session", autouse=True)
def small_pictures() -> None:
    """TensorBoard's pictures are small: a user's would take a third of the time of a tiny training."""
    from volseg.visualization import overlay

    overlay.PANEL = 60


@pytest.fixture
def all_cores() -> Iterator[None]:
    """All cores of the machine for a test that is about several; it is skipped where there is one only."""
    if len(ALL_CORES) < 2:
        pytest.skip("needs two cores")
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, ALL_CORES)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK"):
            patch.delenv(name, raising=False)
        yield
    os.sched_setaffinity(0, own)


@pytest.fixture
def gpu() -> str:
    """The name of a GPU for a test with the mark `gpu`; it is skipped where there is none."""
    import torch

    if os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        pytest.skip("GPUs are hidden from the tests; run these by `pytest -m gpu`")
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    return "cuda"


NEEDED = ("uwmgi_real/train.csv", "uwmgi/labels_without_scans.csv", "hippocampus", "abdomen")


def _shared_data() -> Path:
    named = os.environ.get("VOLSEG_TEST_DATA")
    return Path(named) if named else REPOSITORY.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real scans; a test that asks for it is skipped where it is missing."""
    folder = _shared_data()
    missing = [name for name in NEEDED if not (folder / name).exists()]
    if missing:
        pytest.skip(f"no real data at {folder} ({missing[0]} is missing); set VOLSEG_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny prepared dataset, to be read only."""
    from tests import tiny

    return tiny.write(tmp_path_factory.mktemp("data")).folder


@pytest.fixture(scope="session")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of a few steps on the tiny dataset; a test that changes it takes a copy."""
    from tests import tiny
    from volseg.arguments import TrainArguments
    from volseg.training.train import train

    folder = tmp_path_factory.mktemp("runs") / "tiny"
    return train(tiny.config(), TrainArguments(data=data, run=folder)).run


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests had no real data to run on."""
    skipped = terminalreporter.stats.get("skipped", [])
    missing = sum("no real data at" in str(report.longrepr) for report in skipped)
    if missing:
        terminalreporter.write_line(f"{missing} tests need real data and were skipped")
