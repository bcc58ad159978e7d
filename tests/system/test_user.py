import getpass
import os
import stat
from pathlib import Path

import pytest

from volseg.errors import OutputError
from volseg.system import user


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch):
    """A process of its own: nothing is known of the user, and nobody is named after the test."""
    for name in ("HOME", "LOGNAME", "USER", "LNAME", "USERNAME", "XDG_CACHE_HOME", "TMPDIR"):
        monkeypatch.setenv(name, "")  # so that what the test sets is undone
        monkeypatch.delenv(name)
    user.user_cache.cache_clear()
    user._temporary_folder.cache_clear()
    yield
    user.user_cache.cache_clear()
    user._temporary_folder.cache_clear()


def refuse_home():
    raise RuntimeError("Could not determine home directory.")


def test_an_unknown_user_gets_a_name_and_a_home_of_their_own(monkeypatch) -> None:
    def refuse(_number):
        raise KeyError("getpwuid(): uid not found: 54321")

    monkeypatch.setattr("pwd.getpwuid", refuse)
    user.name_unknown_user()

    assert getpass.getuser() == f"user{os.getuid()}"
    assert Path.home().is_dir()
    assert stat.S_IMODE(Path.home().stat().st_mode) == 0o700


def test_a_known_user_keeps_name_and_home(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LOGNAME", "ann")
    user.name_unknown_user()

    assert (getpass.getuser(), Path.home()) == ("ann", tmp_path)


def test_the_cache_is_where_the_user_wants_it_else_at_home_else_temporary(monkeypatch, tmp_path) -> None:
    def place() -> Path:
        user.user_cache.cache_clear()
        return user.user_cache()

    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert place() == tmp_path / "home/.cache/volseg"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    assert place() == tmp_path / "own/volseg"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert place() == tmp_path / "home/.cache/volseg"
    monkeypatch.setenv("HOME", str(tmp_path / "file"))  # can't be written
    temporary = place()
    assert stat.S_IMODE(temporary.stat().st_mode) == 0o700
    monkeypatch.setattr(user.Path, "home", refuse_home)
    assert place() == temporary


def test_without_any_folder_the_message_names_the_setting(monkeypatch, tmp_path) -> None:
    def refuse(**_):
        raise FileNotFoundError(2, "No usable temporary directory found")

    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    monkeypatch.setattr(user.tempfile, "mkdtemp", refuse)
    with pytest.raises(OutputError, match="set TMPDIR to a folder that can be written"):
        user.user_cache()
