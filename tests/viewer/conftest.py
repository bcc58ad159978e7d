"""A browser that draws WebGL in software, for the tests of the page."""

from collections.abc import Iterator

import pytest

from tests import browser
from tests.browser import Browser


@pytest.fixture(scope="module")
def tab() -> Iterator[Browser]:
    path = browser.program()
    if path is None:
        pytest.skip("no Chromium is installed")
    opened = Browser(path, webgl=True)
    yield opened
    opened.close()
