"""The masks of `train.csv` (id,class,segmentation), and what may be wrong with them."""

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from volseg.data.scan import Masks, Scan
from volseg.data.slices import first
from volseg.errors import UserError, nearest
from volseg.masks.submission import slice_id

COLUMNS = ("id", "class", "segmentation")

_ID = re.compile(r"(case[0-9]+_day[0-9]+)_slice_([0-9]+)")

Row = tuple[int, str]  # slice number and class


@dataclass(frozen=True)
class Annotations:
    """For each scan the texts by row; `problems` are faults of the whole file."""

    path: Path
    rows: Mapping[str, Mapping[Row, list[str]]]
    problems: tuple[str, ...] = ()

    def masks(self, scan: Scan, classes: Sequence[str], *, allow_gaps: bool) -> Masks | None:
        """The masks of a scan, or None where the file has no row of it.

        With `allow_gaps`, rows of slices missing in the middle are left out.

        Raises:
            UserError: rows twice, rows without an image, images without a row; each is named.
        """
        rows = self.rows.get(scan.name)
        if rows is None:
            return None
        problems = [*self._mismatches(scan, rows, classes, allow_gaps=allow_gaps)]
        if problems:
            raise UserError.of(problems)
        texts = {
            organ: tuple(rows[number, organ][0] for number in scan.numbers) for organ in classes
        }
        return Masks(self.path, texts)

    def _mismatches(
        self,
        scan: Scan,
        rows: Mapping[Row, list[str]],
        classes: Sequence[str],
        *,
        allow_gaps: bool,
    ) -> Iterator[str]:
        """A line for each way in which rows and slices are not one to one."""
        here = set(scan.numbers)
        span = range(scan.numbers[0], scan.numbers[-1] + 1) if allow_gaps else ()
        twice = [row for row, texts in rows.items() if len(texts) > 1]
        orphans = {number for number, _ in rows if number not in here and number not in span}
        bare = [
            (number, organ)
            for number in scan.numbers
            for organ in classes
            if (number, organ) not in rows
        ]
        ids = [slice_id(scan.name, number) for number in sorted(orphans)]
        yield from self._line("id without image", ids, "re-download the scan or remove the rows")
        labels = [f"{slice_id(scan.name, number)} {organ}" for number, organ in twice]
        yield from self._line("row twice", labels, "keep one")
        labels = [f"{slice_id(scan.name, number)} {organ}" for number, organ in bare]
        yield from self._line("image without row", labels, "expected a row a slice and class")

    def _line(self, what: str, ids: Sequence[str], cure: str) -> Iterator[str]:
        if ids:
            yield f"{self.path}: {what}: {', '.join(first(ids, 'like it'))}; {cure}"


def read(path: Path, classes: Sequence[str]) -> Annotations:
    """Read all rows. Faults of the whole file are in `problems`, all at once.

    Raises:
        UserError: not a text table with the columns id, class and segmentation.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _sorted(path, csv.reader(file, strict=True), classes)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        expected = f"expected UTF-8 text with the columns {','.join(COLUMNS)}"
        raise UserError(f"{path}: not a readable CSV file ({error}); {expected}") from error


@dataclass
class _Oddities:
    """Rows that no scan can use."""

    ragged: list[str] = field(default_factory=list)
    ids: Counter[str] = field(default_factory=Counter)
    classes: Counter[str] = field(default_factory=Counter)

    def told(self, path: Path, classes: Sequence[str]) -> Iterator[str]:
        """A line for each, the first ten of a kind."""
        yield from first([f"{path}: {line}" for line in self.ragged], "such lines")
        ids = [
            f"{path}: id '{name}' on {count} rows is none; expected one like "
            f"{slice_id('case123_day20', 1)}"
            for name, count in (+self.ids).items()
        ]
        yield from first(ids, "such ids")
        unknown = [
            f"{path}: unknown class '{name}' on {count} rows{nearest(name, classes)}; "
            f"expected {', '.join(classes)}"
            for name, count in (+self.classes).items()
        ]
        yield from first(unknown, "unknown classes")


def _sorted(path: Path, lines: Iterator[list[str]], classes: Sequence[str]) -> Annotations:
    """The rows by scan. `lines` starts with the header."""
    header = next(lines, [])
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        found = ",".join(header) or "nothing"
        raise UserError(
            f"{path}: no column {', '.join(missing)}; expected {','.join(COLUMNS)}, found {found}"
        )
    places = [header.index(name) for name in COLUMNS]
    rows: dict[str, dict[Row, list[str]]] = defaultdict(lambda: defaultdict(list))
    odd = _Oddities()
    for position, line in enumerate(lines, start=2):
        if len(line) != len(header):
            fault = f"line {position} has {len(line)} fields; expected {len(header)}"
            odd.ragged += [fault] if line else []  # an empty line is none
            continue
        name, organ, text = (line[place].strip() for place in places)
        parts = _ID.fullmatch(name)
        odd.ids[name] += parts is None
        odd.classes[organ] += organ not in classes
        if parts is not None:
            rows[parts[1]][int(parts[2]), organ].append(text)
    return Annotations(path, rows, tuple(odd.told(path, classes)))
