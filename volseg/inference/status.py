"""`volseg status`: how far predictions are, from the records alone, while they are made and after.

Records are read as plain JSON, only where they are new or have changed, and nothing is locked or written: so
it is fast where there are very many, and safe beside `volseg infer`.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from volseg.data.dataset import FILE
from volseg.errors import UserError
from volseg.formatting import natural_key
from volseg.inference.correction_file import CORRECTED, CORRECTION
from volseg.inference.prediction_folder import EXPECTED, RECORD, UNFINISHED, inner_folder_hint
from volseg.system.files import read_text

WINDOW_S = 600.0  # the rate is that of the last minutes
NAMED = 5  # scans that a reason names


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class FailedScans(_Part):
    """Scans that failed for one reason, in which `*` stands for their name: how many, and the first."""

    reason: str
    count: int
    scans: tuple[str, ...]


class HostProgress(_Part):
    """What one host has done, its rate in the last minutes, and when it finished its last scan (UTC)."""

    host: str
    done: int
    failed: int
    per_minute: float
    last_finished: str


class Progress(_Part):
    """How far predictions are: all counts are of scans.

    `begun` are those that are in work now, or were when a process was stopped; `corrected` are among `done`.
    `unreadable` have a damaged record. `total` and `left`, which have neither masks nor failed, are null
    without --data. `per_minute` counts done and failed scans of the last ten minutes up to now, and
    `seconds_left` is what `left` takes at this rate; both null where there were fewer than two. Times are
    UTC, "" where records of earlier versions don't tell them.
    """

    folder: str
    total: int | None
    done: int
    failed: int
    begun: int
    corrected: int
    unreadable: int
    left: int | None
    per_minute: float | None
    seconds_left: float | None
    first_finished: str
    last_finished: str
    reasons: tuple[FailedScans, ...]
    hosts: tuple[HostProgress, ...]
    begun_scans: tuple[str, ...]


class _Scan(NamedTuple):
    """What the record of a scan says; `state` is done, failed, begun or unreadable."""

    name: str
    state: str
    reason: str = ""
    host: str = ""
    finished: str = ""
    corrected: bool = False


@dataclass
class StatusReader:
    """Reads a folder of predictions, again and again: of the records only those that have changed since."""

    folder: Path
    data: Path | None = None
    _known: dict[str, tuple[tuple[int, int, int], _Scan]] = field(default_factory=dict)

    def read(self, now: datetime | None = None) -> Progress:
        """How far they are.

        Raises:
            UserError: no such folder, no record in it, or no dataset where one is named.
        """
        names, scans = self._names, list(self._scans())
        if not scans:
            raise UserError(
                f"{self.folder}: no predicted scan in it; {inner_folder_hint(self.folder) or EXPECTED}"
            )
        if names is not None:
            scans = [scan for scan in scans if scan.name in names]
        total = None if names is None else len(names)
        return _summarise(self.folder, scans, total, now or datetime.now(UTC))

    @cached_property
    def _names(self) -> set[str] | None:
        return None if self.data is None else _dataset_scans(self.data)

    def _scans(self) -> Iterator[_Scan]:
        try:
            entries = os.scandir(self.folder)
        except FileNotFoundError as error:
            raise UserError(
                f"{self.folder}: no such folder; `volseg infer --out {self.folder}` makes it"
            ) from error
        except OSError as error:
            raise UserError(f"{self.folder}: can't be read: {error.strerror}") from error
        with entries:
            for entry in entries:
                if not entry.name.startswith(".") and (scan := self._scan(entry.name, entry.path)):
                    yield scan

    def _scan(self, name: str, folder: str) -> _Scan | None:
        """What is told of a scan; None where there is no record, or it goes while it is looked at."""
        path = f"{folder}/{RECORD}"
        try:
            told = os.stat(path)  # noqa: PTH116
            signature = (told.st_mtime_ns, told.st_size, told.st_ino)
            before = self._known.get(name)
            scan = before[1] if before and before[0] == signature else _read(name, path)
        except OSError:
            self._known.pop(name, None)
            return None
        self._known[name] = signature, scan
        corrected = os.path.exists(f"{folder}/{CORRECTED}/{CORRECTION}")  # noqa: PTH110
        return scan._replace(corrected=True) if corrected else scan


def _read(name: str, path: str) -> _Scan:
    with open(path, "rb") as file:  # noqa: PTH123
        content = file.read()
    try:
        record = json.loads(content)
        status, reason = record["status"], str(record.get("reason", ""))
        computed = record.get("computed") or {}
        host, finished = str(computed.get("host", "")), str(computed.get("finished", ""))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return _Scan(name, "unreadable")
    if status == "failed" and reason in UNFINISHED:
        return _Scan(name, "begun")
    return _Scan(name, "done" if status == "done" else "failed", reason, _first_line(host), finished)


def _dataset_scans(data: Path) -> set[str]:
    """The names of the scans of a dataset, of which nothing else is checked."""
    path = data / FILE
    if not path.is_file():
        raise UserError(f"{data}: no {FILE}; make it with `volseg prepare SOURCE --out {data}`")
    try:
        return {str(sample["name"]) for sample in json.loads(read_text(path))["samples"]}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: not a dataset of `volseg prepare`") from error


def _summarise(folder: Path, scans: list[_Scan], total: int | None, now: datetime) -> Progress:
    by_state = {state: [one for one in scans if one.state == state] for state in ("done", "failed", "begun")}
    done, failed, begun = by_state.values()
    ended = [*done, *failed]
    left = None if total is None else total - len(ended)
    rate = _per_minute(ended, now)
    times = sorted(filter(None, (one.finished for one in ended)))
    return Progress(
        folder=str(folder),
        total=total,
        done=len(done),
        failed=len(failed),
        begun=len(begun),
        corrected=sum(one.corrected for one in done),
        unreadable=len(scans) - len(ended) - len(begun),
        left=left,
        per_minute=rate,
        seconds_left=60 * left / rate if left is not None and rate else None,
        first_finished=times[0] if times else "",
        last_finished=times[-1] if times else "",
        reasons=tuple(_reasons(failed)),
        hosts=tuple(_hosts(ended, now)),
        begun_scans=_first([one.name for one in begun]),
    )


def _per_minute(scans: Iterable[_Scan], now: datetime) -> float | None:
    """The rate since the first scan of the last minutes; None where fewer than two were finished then."""
    ages = [(now - time).total_seconds() for one in scans if (time := _time(one.finished))]
    recent = [max(age, 0) for age in ages if age <= WINDOW_S]
    return 60 * (len(recent) - 1) / max(*recent, 1) if len(recent) > 1 else None


def _time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _reasons(failed: Iterable[_Scan]) -> Iterator[FailedScans]:
    """The reasons, the most frequent first."""
    by_reason: dict[str, list[str]] = {}
    for one in failed:
        name = rf"(?<![^\W_]){re.escape(one.name)}(?![^\W_])"  # not within another word
        reason = re.sub(name, "*", _first_line(one.reason))
        by_reason.setdefault(reason, []).append(one.name)
    for reason, names in sorted(by_reason.items(), key=lambda item: (-len(item[1]), item[0])):
        yield FailedScans(reason=reason, count=len(names), scans=_first(names))


def _first(names: list[str]) -> tuple[str, ...]:
    return tuple(sorted(names, key=natural_key)[:NAMED])


def _first_line(text: str) -> str:
    """The first line, without characters that move a cursor."""
    return "".join(letter if letter.isprintable() else " " for letter in text.partition("\n")[0])


def _hosts(ended: Iterable[_Scan], now: datetime) -> Iterator[HostProgress]:
    by_host: dict[str, list[_Scan]] = {}
    for one in ended:
        by_host.setdefault(one.host, []).append(one)
    for host, scans in sorted(by_host.items(), key=lambda item: natural_key(item[0])):
        yield HostProgress(
            host=host,
            done=sum(one.state == "done" for one in scans),
            failed=sum(one.state == "failed" for one in scans),
            per_minute=_per_minute(scans, now) or 0.0,
            last_finished=max(one.finished for one in scans),
        )
