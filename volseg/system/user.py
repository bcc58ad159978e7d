"""The user who runs a command: a name and a home for libraries that ask, and a folder of their own."""

import atexit
import getpass
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

from volseg.errors import OutputError


def name_unknown_user() -> None:
    """Give a user whom the system doesn't know a name and a home, for which libraries ask."""
    try:
        getpass.getuser()
    except (KeyError, OSError, ImportError):
        os.environ["LOGNAME"] = f"user{os.getuid()}"
    if not _home().is_absolute():
        os.environ["HOME"] = str(_temporary_folder())


@cache
def user_cache() -> Path:
    """A folder of this user for what can be made again: below `$XDG_CACHE_HOME`, else `~/.cache`.

    Where neither can be written it is a temporary one, which is removed when the process ends.
    """
    for folder in (Path(os.environ.get("XDG_CACHE_HOME", "")), _home() / ".cache"):
        if folder.is_absolute() and _takes_files(folder / "volseg"):
            return folder / "volseg"
    return _temporary_folder()


def _home() -> Path:
    """The user's home; a relative path where it is unknown."""
    try:
        return Path.home()
    except RuntimeError:
        return Path()


def _takes_files(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


@cache
def _temporary_folder() -> Path:
    """A folder that only this user can read, for as long as this process runs."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="volseg-"))
    except OSError as error:
        raise OutputError(
            f"no temporary folder can be made ({error.strerror}); set TMPDIR to a folder that can be written"
        ) from error
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
