"""Images on the disk by series: each is there for good before it is acknowledged.

A file is named by its instance UID and by its content, both as salted hashes. So the names of the files of a
series tell whether anything of it has changed, and two images that share a UID do not overwrite each other.
"""

import os
import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from volseg.dicom.node.spool import Spool, discard_folder, sync_folder

Part = bytes | memoryview
DECIDED = "decided"
"""A mark in the folder of a series for which jobs were made; the next image of it takes the mark away."""


class SeriesStore:
    """The images of each series, and when the last one came."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self._lock = threading.Lock()
        undecided = (folder.name for folder in spool.series.iterdir() if not (folder / DECIDED).exists())
        self._arrivals = dict.fromkeys(undecided, time.monotonic())
        self._undecided: defaultdict[str, set[str]] = defaultdict(set)  # files that came since, by series

    def add_image(
        self,
        series_uid: str,
        instance_uid: str,
        parts: Sequence[Part],
        *,
        content: Sequence[Part] | None = None,
    ) -> None:
        """Store an image, its file's bytes in parts; it is on the disk when this returns.

        It replaces one of the same UID and other `content` (by default all bytes) on which a decision was
        made. Both are kept where none was made: which of them is right is not known here.

        Raises:
            OSError: it is not, for want of space or for another reason.
        """
        series, instance = self.spool.hide(series_uid), self.spool.hide(instance_uid)
        name = f"{instance}-{self.spool.hide_bytes(parts if content is None else content)}.dcm"
        temporary = self.spool.incoming / secrets.token_hex(8)
        try:
            _write_synced(temporary, parts)
            with self._lock:
                self._take_in(temporary, self.spool.series / series / name)
                self._undecided[series].add(name)
                self._arrivals[series] = time.monotonic()
                self._remove_replaced(self.spool.series / series, instance)
        finally:
            temporary.unlink(missing_ok=True)

    def _take_in(self, temporary: Path, file: Path) -> None:
        """Give an image its place; the mark goes first, lest a kill between leaves the image unseen.

        A file that was there stays as it is for the jobs that have a link to it.
        """
        folder = file.parent
        if not folder.exists():
            folder.mkdir(mode=0o700)
            sync_folder(folder.parent)
        (folder / DECIDED).unlink(missing_ok=True)
        temporary.replace(file)
        sync_folder(folder)

    def _remove_replaced(self, folder: Path, instance: str) -> None:
        """Remove the files of an instance that are older than the last decision on the series."""
        fresh = self._undecided[folder.name]
        replaced = [file for file in folder.glob(f"{instance}-*.dcm") if file.name not in fresh]
        for file in replaced:
            file.unlink()
        if replaced:
            sync_folder(folder)

    @property
    def receiving(self) -> int:
        """The number of series of which images may still come, or that are not looked at yet."""
        return len(self._arrivals)

    def quiet_series(self, seconds: float) -> dict[str, float]:
        """Series of which no image has come for so long, with the time of their last one."""
        now = time.monotonic()
        with self._lock:
            return {series: last for series, last in self._arrivals.items() if now - last >= seconds}

    def images(self, series: str) -> list[Path]:
        """The files of a series, in an order that tells nothing."""
        return sorted((self.spool.series / series).glob("*.dcm"))

    def mark_decided(self, series: str, last: float, *, keep: bool) -> None:
        """Leave a series alone, or forget it, unless an image has come since the `last` one."""
        with self._lock:
            if self._arrivals.get(series) != last:
                return
            folder = self.spool.series / series
            if keep:
                (folder / DECIDED).touch(mode=0o600)
                sync_folder(folder)
            else:
                discard_folder(folder, self.spool)
            del self._arrivals[series]
            self._undecided.pop(series, None)

    def postpone(self, series: str) -> None:
        """Look at a series again after another quiet time."""
        with self._lock:
            self._arrivals[series] = time.monotonic()

    def remove_older(self, hours: float) -> None:
        """Remove the series that were decided so long ago."""
        limit = time.time() - hours * 3600
        with self._lock:
            for mark in self.spool.series.glob(f"*/{DECIDED}"):
                if mark.parent.name not in self._arrivals and mark.stat().st_mtime <= limit:
                    discard_folder(mark.parent, self.spool)


def _write_synced(file: Path, parts: Sequence[Part]) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        for part in parts:
            opened.write(part)
        opened.flush()
        os.fsync(opened.fileno())
