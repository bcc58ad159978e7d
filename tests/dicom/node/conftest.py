"""A node changes its process: what tests change is as before afterwards."""

import os
import threading
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def process_as_before() -> Iterator[None]:
    mask, hook = os.umask(0o022), threading.excepthook
    os.umask(mask)
    yield
    os.umask(mask)
    threading.excepthook = hook
