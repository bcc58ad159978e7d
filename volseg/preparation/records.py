"""What became of each scan of a prepared dataset, kept beside it: `records/<scan>.json`.

A record says what a scan was made from and which files that gave. It is written after them and removed
before they change, so a scan whose record is there and still true need not be made again.
"""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from volseg.data.dataset import FILE, Dataset, Sample
from volseg.data.layouts.findings import Finding
from volseg.errors import OutputError, UserError
from volseg.preparation.fingerprint import Fingerprint
from volseg.schema import Section
from volseg.system import files as atomic
from volseg.system.json_files import read_json, write_json

FOLDER = "records"
LOCK = ".prepare.lock"


class ScanRecord(Section):
    """One prepared scan: the hash of what it was made from, its entry, its files and their sizes.

    `findings` are those of this scan alone; what only shows beside others is judged anew each time.
    """

    key: str
    sample: Sample
    files: dict[str, int]
    fingerprint: Fingerprint
    findings: tuple[Finding, ...] = ()

    def write(self, out: Path) -> None:
        """Write it, once all of its files are there."""
        write_json(_record_path(out, self.sample.name), self, indent=None)

    def is_current(self, out: Path, key: str) -> bool:
        """Whether the files are there, as large as they were, and made from what `key` stands for."""
        return self.key == key and all(_file_size(out / name) == size for name, size in self.files.items())


def read(out: Path, name: str) -> ScanRecord | None:
    """The record of a scan, or None where there is none that this version can read."""
    try:
        return read_json(_record_path(out, name), ScanRecord)
    except UserError:
        return None


def read_all(out: Path, names: Iterable[str]) -> list[ScanRecord]:
    """The records of these scans.

    Raises:
        UserError: one is missing: the dataset was made by hand or by an older version.
    """
    found = {name: read(out, name) for name in names}
    missing = [name for name, record in found.items() if record is None]
    if missing:
        raise UserError(
            f"{out / FOLDER}: no record of {missing[0]}"
            f"{f' and {len(missing) - 1} others' if missing[1:] else ''}; "
            "run `volseg prepare` again"
        )
    return [record for record in found.values() if record is not None]


def remove_scan(out: Path, name: str) -> None:
    """Remove a scan's files, so that nothing speaks of what is no longer true.

    `dataset.json` goes first and the record next, before the files that they name.

    Raises:
        OutputError: a file can't be removed.
    """
    record = read(out, name)
    _remove_file(out / FILE)
    _remove_file(_record_path(out, name))
    for file in record.files if record else ():
        _remove_file(out / file)
    if record and record.sample.labels:
        _remove_empty(out / "labels" / name)


def unlisted_scans(out: Path, names: Iterable[str]) -> list[str]:
    """The scans that have a record but are not among these names."""
    there = {path.name.removesuffix(".json") for path in (out / FOLDER).glob("*.json")}
    return sorted(there.difference(names))


@contextmanager
def lock_dataset(out: Path, sources: Collection[Path] = ()) -> Iterator[None]:
    """Keep other processes from writing this dataset, and remove what a killed one left half-written.

    Raises:
        UserError: another process is writing it, or it holds files of somebody else, or of the folders
            that are read (`sources`).
        OutputError: the folder can't be written.
    """
    from filelock import FileLock, Timeout

    _refuse_sources(out, sources)
    _refuse_foreign(out)
    fresh = not out.exists()
    with atomic.readable_write_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        lock = FileLock(out / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise UserError(
                f"{out}: another `volseg prepare` is writing it; wait for it or choose another --out"
            ) from error
    try:
        _remove_partial_files(out)
        (out / FOLDER).mkdir(exist_ok=True)  # says from the first volume on that this is ours
        yield
    finally:
        _remove_partial_files(out)
        _remove_empty(out / FOLDER)
        with suppress(OSError):  # Windows removes no file that is open
            (out / LOCK).unlink()
        lock.release()
        if fresh:
            _remove_empty(out)


def _refuse_sources(out: Path, sources: Collection[Path]) -> None:
    """Never write where the source's own files lie."""
    own = [(out / name).resolve() for name in ("images", "labels", FOLDER)]
    for folder in sources:
        if any(folder.resolve().is_relative_to(one) for one in own):
            raise UserError(f"--out {out}: {folder} holds files of the source; choose another --out")


def _refuse_foreign(out: Path) -> None:
    """Leave alone a `dataset.json` or volumes that we did not write, such as the source's own."""
    path = out / FILE
    if not path.is_file() and not (out / FOLDER).is_dir():
        strange = [one for name in ("images", "labels") for one in (out / name).glob("[!.]*[!.]")]
        if any(one.is_file() or any(one.glob("[!.]*")) for one in strange):
            raise UserError(
                f"{strange[0].parent}: holds files that `volseg prepare` did not write; choose another --out"
            )
    if path.is_file():
        try:
            Dataset.load(out)
        except UserError as error:
            raise UserError(f"{path}: was not written by `volseg prepare`; choose another --out") from error


def _remove_partial_files(out: Path) -> None:
    for folder in ("", "images/", "labels/*/", f"{FOLDER}/"):
        for path in out.glob(f"{folder}{atomic.PREFIX}*"):
            path.unlink(missing_ok=True)


def _record_path(out: Path, name: str) -> Path:
    return out / FOLDER / f"{name}.json"


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _remove_file(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        reason = f"{error.strerror}; choose another output folder"
        raise OutputError(f"{path}: can't be replaced: {reason}") from error


def _remove_empty(folder: Path) -> None:
    """Remove a folder if nothing is in it."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
