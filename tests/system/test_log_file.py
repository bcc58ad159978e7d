import errno
import logging
from pathlib import Path

import pytest

from volseg.errors import OutputError
from volseg.system.log_file import log_to

log = logging.getLogger("volseg.test")


def test_lines_go_to_the_file_while_the_body_runs(tmp_path: Path) -> None:
    path = tmp_path / "new" / "log.txt"
    with log_to(path):
        log.info("one")
    log.info("two")

    assert path.read_text().endswith(" one\n")


def test_a_line_that_cannot_be_written_ends_the_command_with_the_files_name(
    tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("volseg"), "handlers", [])  # those that other tests have left

    def refuse(_text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def write() -> None:
        with log_to(tmp_path / "log.txt"):
            logging.getLogger("volseg").handlers[-1].stream.write = refuse
            log.info("one")

    with pytest.raises(OutputError, match=r"log\.txt: can't be written: the disk is full"):
        write()
    assert capsys.readouterr().err == ""
