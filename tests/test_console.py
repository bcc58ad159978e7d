"""Log lines and progress bars share a terminal."""

import io
import logging
import re
import sys

import pytest

from volseg import console

LINE = re.compile(r"(^|\n|\r)(\x1b\[[0-9;?]*[A-Za-z])*\d\d:\d\d:\d\d one line\r?\n")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_line_stands_on_a_line_of_its_own_above_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    console.configure_logging()
    log = logging.getLogger("volseg.test")

    with console.progress_bar("training") as report:
        report(0, 3)
        log.info("one line")
        report(1, 3)
        log.info("one line")

    assert "training" in terminal.getvalue()
    assert len(LINE.findall(terminal.getvalue())) == 2
