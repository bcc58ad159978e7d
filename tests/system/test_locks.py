import errno
import fcntl
import logging
import os
import subprocess
import sys

import pytest

from volseg.errors import OutputError, UserError
from volseg.system import locks
from volseg.system.locks import LOCK, folder_lock

HOLDER = """
import sys
from pathlib import Path
from volseg.system.locks import folder_lock

with folder_lock(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds `tmp_path` until it reads a line."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], **pipes) as process:
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def test_a_folder_held_by_another_process_is_refused_until_that_process_is_killed(tmp_path, holder):
    with pytest.raises(UserError, match=r": busy$"), folder_lock(tmp_path, busy="busy"):
        pass
    holder.kill()
    holder.wait()
    with folder_lock(tmp_path, busy="busy"):
        assert (tmp_path / LOCK).exists()
    assert not (tmp_path / LOCK).exists()


def test_without_a_reason_to_refuse_a_held_folder_is_waited_for(tmp_path, holder, caplog):
    flock = fcntl.flock

    def release_then_wait(descriptor, operation):
        if not operation & fcntl.LOCK_NB:
            holder.communicate("\n")
        return flock(descriptor, operation)

    with pytest.MonkeyPatch.context() as patch, caplog.at_level(logging.INFO, "volseg"):
        patch.setattr(fcntl, "flock", release_then_wait)
        # the holder removed its file: a new one is locked
        with folder_lock(tmp_path), pytest.raises(UserError), folder_lock(tmp_path, busy="busy"):
            pass
    assert "waiting" in caplog.text


@pytest.mark.parametrize("name", ["ENOLCK", "EOPNOTSUPP", "ENOTSUP", "ENOSYS", "EINVAL"])
def test_a_drive_without_locks_is_told_in_one_line_and_written_all_the_same(
    tmp_path, monkeypatch, caplog, name
):
    def refuse(*_):
        raise OSError(getattr(errno, name), "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with caplog.at_level(logging.INFO, "volseg"), folder_lock(tmp_path / "new", busy="busy"):
        assert (tmp_path / "new").is_dir()
    assert [record.message.count("no lock on this drive") for record in caplog.records] == [1]


def test_a_folder_that_cannot_be_written_is_an_output_error(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(locks.os, "open", refuse)
    with pytest.raises(OutputError, match="permission denied"), folder_lock(tmp_path):
        pass
