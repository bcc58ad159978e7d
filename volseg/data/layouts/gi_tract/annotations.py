"""The rows of `train.csv` (id,class,segmentation) by scan: their places in the file, and their faults.

The file is read once to see which rows belong to which scan; their texts are read again with the scan.
So memory does not grow with the number of masks, and no rows travel to another process.
"""

import csv
import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from volseg.data.layouts.gi_tract.rle_csv import slice_id
from volseg.errors import UserError, nearest_hint, short_repr
from volseg.formatting import first_few

FILE = "train.csv"
COLUMNS = ("id", "class", "segmentation")
EMPTY = ("nan", "none", "null", "na", "n/a", "<na>")  # what tools write for a mask without voxels

_ID = re.compile(r"(case[0-9]{1,9}_day[0-9]{1,9})_slice_([0-9]{1,9})")

SliceClass = tuple[int, str]  # slice number and class
Span = tuple[int, int]  # first byte and the byte after the last


@dataclass(frozen=True)
class ScanRows:
    """The bytes of a scan's rows in the file, their hash, and the columns of id, class and text."""

    path: Path
    columns: tuple[int, int, int]
    spans: tuple[Span, ...]
    digest: str

    def rle_texts(
        self, scan: str, numbers: Sequence[int], classes: Sequence[str]
    ) -> dict[str, tuple[str, ...]]:
        """For each class the run-length text of each slice, '' for an empty mask.

        Rows of slices that are not among the numbers are left out.

        Raises:
            UserError: rows twice, images without a row; all.
        """
        rows = self._read_rows()
        problems = [*_row_mismatches(self.path, scan, rows, numbers, classes)]
        if problems:
            raise UserError.from_problems(problems)
        return {name: tuple(rows[number, name][0] for number in numbers) for name in classes}

    def _read_rows(self) -> dict[SliceClass, list[str]]:
        try:
            with self.path.open("rb") as file:
                parts = [_read_span(file, span) for span in self.spans]
        except OSError as error:
            raise UserError(f"{self.path}: can't be read: {error.strerror}; run it again") from error
        if _hash_rows(self.columns, parts).hexdigest() != self.digest:
            raise UserError(f"{self.path}: changed while it was read; run it again")
        rows: dict[SliceClass, list[str]] = {}
        lines = (line for part in parts for line in io.StringIO(part.decode("utf-8"), newline=""))
        for line in csv.reader(lines, strict=True):
            name, class_name, text = (line[column].strip() for column in self.columns)
            text = "" if text.lower() in EMPTY else text
            rows.setdefault((int(name.rpartition("_")[2]), class_name), []).append(text)
        return rows

    def missing_slices(self, numbers: Sequence[int]) -> list[int]:
        """The slices before or behind those of these numbers that have rows."""
        span = range(numbers[0], numbers[-1] + 1)
        return sorted({number for number, _ in self._read_rows()}.difference(span))


@dataclass(frozen=True)
class Annotations:
    """The rows of each scan; `problems` are faults of the whole file."""

    path: Path
    rows: Mapping[str, ScanRows]
    problems: tuple[str, ...] = ()


def read(path: Path, classes: Sequence[str]) -> Annotations:
    """The places of all rows by scan, and all faults of the whole file.

    Raises:
        UserError: not a text table with the columns id, class and segmentation.
    """
    try:
        with path.open("rb") as file:
            return _group_by_scan(path, _LineReader(file), classes)
    except (OSError, csv.Error) as error:
        expected = f"expected UTF-8 text with the columns {','.join(COLUMNS)}"
        raise UserError(f"{path}: not a readable CSV file ({error}); {expected}") from error


class _LineReader:
    """The lines of a CSV file, each with its bytes; a quoted field may hold line breaks."""

    def __init__(self, file: Iterable[bytes]) -> None:
        self.file = file
        self.bytes: list[bytes] = []
        self.lines = csv.reader(self._text_lines(), strict=True)

    def _text_lines(self) -> Iterator[str]:
        for number, raw in enumerate(self.file, start=1):
            self.bytes.append(raw)
            try:
                yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise csv.Error(f"line {number}: {error}") from error

    def __iter__(self) -> Iterator[tuple[list[str], bytes]]:
        for line in self.lines:
            raw = b"".join(self.bytes)
            self.bytes.clear()
            yield line, raw


@dataclass
class _RowSpans:
    """The growing spans and hash of a scan's rows."""

    hash: Any
    spans: list[Span] = field(default_factory=list)

    def add(self, start: int, raw: bytes) -> None:
        end = start + len(raw)
        if self.spans and self.spans[-1][1] == start:
            self.spans[-1] = (self.spans[-1][0], end)
        else:
            self.spans.append((start, end))
        self.hash.update(raw)


@dataclass
class _UnusableRows:
    """Rows that no scan can use."""

    ragged: list[str] = field(default_factory=list)
    ids: Counter[str] = field(default_factory=Counter)
    classes: Counter[str] = field(default_factory=Counter)

    def messages(self, path: Path, classes: Sequence[str]) -> Iterator[str]:
        """A line for each, at most ten of a kind."""
        yield from first_few([f"{path}: {line}" for line in self.ragged], "such lines")
        forms: dict[str, list[str]] = {}
        for name in +self.ids:
            forms.setdefault(re.sub("[0-9]+", "0", name), []).append(name)
        ids = [
            f"{path}: id {short_repr(names[0])}{f' and {len(names) - 1} like it' if names[1:] else ''} on "
            f"{sum(self.ids[name] for name in names)} rows is none; expected one like "
            f"{slice_id('case123_day20', 1)}"
            for names in forms.values()
        ]
        yield from first_few(ids, "forms of ids")
        unknown = [
            f"{path}: unknown class {short_repr(name)} on {count} rows{nearest_hint(name, classes)}; "
            f"expected {', '.join(classes)}"
            for name, count in (+self.classes).items()
        ]
        yield from first_few(unknown, "unknown classes")


def _group_by_scan(path: Path, lines: _LineReader, classes: Sequence[str]) -> Annotations:
    """The rows by scan. `lines` starts with the header."""
    rows = iter(lines)
    header, raw = next(rows, ([], b""))
    columns = _column_indices(path, header)
    spans: dict[str, _RowSpans] = {}
    unusable = _UnusableRows()
    start = len(raw)
    for position, (line, raw) in enumerate(rows, start=2):
        if len(line) == len(header):
            name, class_name = line[columns[0]].strip(), line[columns[1]].strip()
            parts = _ID.fullmatch(name)
            if class_name not in classes:
                unusable.classes[class_name] += 1
            if parts is None:
                unusable.ids[name] += 1
            else:
                spans.setdefault(parts[1], _RowSpans(_hash_rows(columns, ()))).add(start, raw)
        elif line:  # an empty line is none
            unusable.ragged.append(f"line {position} has {len(line)} fields; expected {len(header)}")
        start += len(raw)
    scans = {
        name: ScanRows(path, columns, tuple(of_scan.spans), of_scan.hash.hexdigest())
        for name, of_scan in spans.items()
    }
    return Annotations(path, scans, tuple(unusable.messages(path, classes)))


def _column_indices(path: Path, header: list[str]) -> tuple[int, int, int]:
    header = [name.strip() for name in header]
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        found = ",".join(header) or "nothing"
        mark = next((mark for mark in ";\t|" if mark in found), "")
        hint = f", with {mark!r} between columns: save it with commas" if mark else ""
        raise UserError(
            f"{path}: no column {', '.join(missing)}; expected {','.join(COLUMNS)}, found {found}{hint}"
        )
    ident, class_name, text = (header.index(name) for name in COLUMNS)
    return ident, class_name, text


def _read_span(file: BinaryIO, span: Span) -> bytes:
    file.seek(span[0])
    return file.read(span[1] - span[0])


def _hash_rows(columns: tuple[int, int, int], parts: Sequence[bytes]) -> Any:
    """The hash of rows and of the meaning of their columns."""
    digest = hashlib.blake2b(repr(columns).encode(), digest_size=16)
    for part in parts:
        digest.update(part)
    return digest


def _row_mismatches(
    path: Path,
    scan: str,
    rows: Mapping[SliceClass, list[str]],
    numbers: Sequence[int],
    classes: Sequence[str],
) -> Iterator[str]:
    """A line for each way in which rows and slices are not one to one."""
    twice = [row for row, texts in rows.items() if len(texts) > 1]
    missing = [(number, name) for number in numbers for name in classes if (number, name) not in rows]
    labels = [f"{slice_id(scan, number)} {name}" for number, name in twice]
    yield from _problem_line(path, "row twice", labels, "keep one")
    labels = [f"{slice_id(scan, number)} {name}" for number, name in missing]
    yield from _problem_line(path, "image without row", labels, "expected a row a slice and class")


def _problem_line(path: Path, what: str, ids: Sequence[str], cure: str) -> Iterator[str]:
    if ids:
        yield f"{path}: {what}: {', '.join(first_few(ids, 'like it'))}; {cure}"
