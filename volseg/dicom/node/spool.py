"""The spool: the folder in which the node keeps images, jobs and results, readable by its user alone.

Names in it are the node's own: salted hashes of UIDs, and numbers. None comes from a tag.
"""

import hashlib
import hmac
import os
import secrets
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path

from volseg.errors import UserError
from volseg.system.files import PREFIX, atomic_path, readable_write_errors, sync_file

SALT = "salt"
FOLDERS = ("incoming", "series", "jobs", "ended", "dead")
OTHERS = stat.S_IRWXG | stat.S_IRWXO
LONGEST_ID = 32


class Spool:
    """The folders below the spool's own, and the names that hide UIDs."""

    def __init__(self, folder: Path, salt: bytes) -> None:
        self.folder = folder
        self._salt = salt

    @classmethod
    def open(cls, folder: Path) -> "Spool":
        """The spool in this folder, which is made with all that belongs to it; what was half done is removed.

        Raises:
            UserError: others may read the folder, or it can't be written.
        """
        with readable_write_errors(folder):
            folder.mkdir(parents=True, mode=0o700, exist_ok=True)
            if folder.stat().st_mode & OTHERS and os.name == "posix":
                raise UserError(f"{folder}: others may read the spool; take that away by chmod 700")
            for name in FOLDERS:
                (folder / name).mkdir(mode=0o700, exist_ok=True)
            shutil.rmtree(folder / "incoming")  # images that were not acknowledged
            (folder / "incoming").mkdir(mode=0o700)
            for unfinished in (*folder.glob(f"{PREFIX}*"), *(folder / "ended").glob(f"{PREFIX}*")):
                unfinished.unlink()
            if not (folder / SALT).is_file():
                with atomic_path(folder / SALT) as temporary:
                    temporary.write_bytes(secrets.token_bytes(32))
            sync_folder(folder)
        return cls(folder, (folder / SALT).read_bytes())

    def hide(self, *texts: str) -> str:
        """A name that tells nothing of texts, the same for the same ones."""
        return self.hide_bytes(("\0".join(texts).encode("utf-8", "surrogatepass"),))

    def hide_bytes(self, parts: Iterable[bytes | memoryview]) -> str:
        """The same for bytes that come in parts."""
        hashed = hmac.new(self._salt, digestmod=hashlib.sha256)
        for part in parts:
            hashed.update(part)
        return hashed.hexdigest()[:LONGEST_ID]

    @property
    def incoming(self) -> Path:
        """Images on their way to the disk."""
        return self.folder / "incoming"

    @property
    def series(self) -> Path:
        """Images, a folder for each series."""
        return self.folder / "series"

    @property
    def jobs(self) -> Path:
        """Series that are being contoured or sent, a folder for each job."""
        return self.folder / "jobs"

    @property
    def ended(self) -> Path:
        """The state of jobs that are done, a file for each."""
        return self.folder / "ended"

    @property
    def dead(self) -> Path:
        """Jobs that failed, as they were."""
        return self.folder / "dead"

    def free_bytes(self) -> int:
        """Free space on the disk of the spool."""
        return shutil.disk_usage(self.folder).free


def use_private_modes() -> None:
    """From now on files of this process and of its children are 0600, folders 0700."""
    os.umask(0o077)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk; Windows has no such thing."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def move_folder(folder: Path, target: Path) -> None:
    """Give a folder another place in the spool, for good once this returns."""
    folder.rename(target)
    sync_folder(target.parent)
    sync_folder(folder.parent)


def discard_folder(folder: Path, spool: Spool) -> None:
    """Remove a folder of the spool; killed in the midst, no half of it is left in its place."""
    away = spool.incoming / f"away-{secrets.token_hex(8)}"
    folder.rename(away)
    shutil.rmtree(away, ignore_errors=True)


def link_or_copy(file: Path, target: Path) -> None:
    """The same content under a second name, by a hard link where the drive has them."""
    try:
        target.hardlink_to(file)
    except (OSError, NotImplementedError):
        shutil.copyfile(file, target)
        sync_file(target)
