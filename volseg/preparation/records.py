"""Records of the prepared scans of a dataset: `records/<scan>.json`.

A record has the hash of a scan's source and the files that were written. It is written after them and removed
before they change, so a scan whose record is there and current need not be prepared again.
"""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from volseg.data.dataset import FILE, Dataset, Sample
from volseg.data.layouts.findings import Finding
from volseg.errors import OutputError, UserError
from volseg.preparation.fingerprint import Fingerprint
from volseg.schema import PathInside, Section
from volseg.system import files as atomic
from volseg.system.json_files import read_json, write_json
from volseg.system.locks import folder_lock

FOLDER = "records"


class ScanRecord(Section):
    """A prepared scan: the hash of its source, its entry, its files with their sizes, and its own findings.

    Findings beside other scans are made anew each time.
    """

    key: str
    sample: Sample
    files: dict[PathInside, int]
    fingerprint: Fingerprint
    findings: tuple[Finding, ...] = ()

    def write(self, out: Path) -> None:
        """Write the record, once all of its files are there."""
        write_json(_record_path(out, self.sample.name), self, indent=None)

    def is_current(self, out: Path, key: str) -> bool:
        """Whether the files have their sizes and were made from the source with this hash."""
        return self.key == key and all(_file_size(out / name) == size for name, size in self.files.items())


def read(out: Path, name: str) -> ScanRecord | None:
    """The record of a scan; None where there is none that this version can read."""
    try:
        return read_json(_record_path(out, name), ScanRecord)
    except UserError:
        return None


def read_all(out: Path, names: Iterable[str]) -> list[ScanRecord]:
    """The records of these scans.

    Raises:
        UserError: one is missing: the dataset was made by hand or by an older version.
    """
    scans = {name: read(out, name) for name in names}
    missing = [name for name, record in scans.items() if record is None]
    if missing:
        others = f" and {len(missing) - 1} others" if missing[1:] else ""
        raise UserError(f"{out / FOLDER}: no record of {missing[0]}{others}; run `volseg prepare` again")
    return [record for record in scans.values() if record is not None]


def remove_scan(out: Path, name: str) -> None:
    """Remove a scan's files: first `dataset.json`, then the record, then the files that they name."""
    record = read(out, name)
    _remove_file(out / FILE)
    _remove_file(_record_path(out, name))
    for file in record.files if record else ():
        _remove_file(out / file)
    if record and record.sample.labels:
        _remove_empty(out / "labels" / name)


def unlisted_scans(out: Path, names: Iterable[str]) -> list[str]:
    """The scans with a record that are not among these names."""
    return sorted({path.stem for path in (out / FOLDER).glob("*.json")}.difference(names))


@contextmanager
def lock_dataset(out: Path, sources: Collection[Path] = ()) -> Iterator[None]:
    """Lock a dataset against other processes, and remove the partial files of a killed one.

    Raises:
        UserError: another process is writing the dataset, or it holds files that `volseg prepare` did not
            write, or files of the folders that are read (`sources`).
        OutputError: the folder can't be written.
    """
    _refuse_sources(out, sources)
    _refuse_foreign(out)
    busy = "another `volseg prepare` is writing it; wait for it or choose another --out"
    with folder_lock(out, busy=busy):
        try:
            _remove_partial_files(out)
            (out / FOLDER).mkdir(exist_ok=True)  # marks the folder as ours before the first volume
            yield
        finally:
            _remove_partial_files(out)
            _remove_empty(out / FOLDER)


def _refuse_sources(out: Path, sources: Collection[Path]) -> None:
    """Refuse to write where the source's files lie."""
    written = [(out / name).resolve() for name in ("images", "labels", FOLDER)]
    for folder in sources:
        if any(folder.resolve().is_relative_to(path) for path in written):
            raise UserError(f"--out {out}: {folder} holds files of the source; choose another --out")


def _refuse_foreign(out: Path) -> None:
    """Refuse a `dataset.json` or volumes that `volseg prepare` did not write, such as the source's own."""
    path = out / FILE
    if not path.is_file() and not (out / FOLDER).is_dir():
        foreign = [entry for name in ("images", "labels") for entry in (out / name).glob("[!.]*[!.]")]
        if any(entry.is_file() or any(entry.glob("[!.]*")) for entry in foreign):
            reason = "holds files that `volseg prepare` did not write"
            raise UserError(f"{foreign[0].parent}: {reason}; choose another --out")
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
        advice = "choose another output folder"
        raise OutputError(f"{path}: can't be replaced: {error.strerror}; {advice}") from error


def _remove_empty(folder: Path) -> None:
    """Remove a folder if nothing is in it."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
