"""What every test may use: the real data where it is, and quiet, repeatable property tests."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A shell that starts the tests in the background has them ignore Ctrl-C, and so their children.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "repeatable",
    derandomize=True,
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("repeatable")

REPOSITORY = Path(__file__).resolve().parents[1]


def _shared_data() -> Path:
    named = os.environ.get("VOLSEG_TEST_DATA")
    return Path(named) if named else REPOSITORY.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real scans; a test that asks for it is skipped where it is missing."""
    folder = _shared_data()
    if not (folder / "uwmgi" / "train.csv").is_file():
        pytest.skip(f"no real data at {folder}; set VOLSEG_TEST_DATA")
    return folder


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests had no real data to run on."""
    skipped = terminalreporter.stats.get("skipped", [])
    missing = sum("no real data at" in str(report.longrepr) for report in skipped)
    if missing:
        terminalreporter.write_line(f"{missing} tests need real data and were skipped")
