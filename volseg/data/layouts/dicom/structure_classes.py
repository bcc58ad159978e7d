"""Structures of RTSTRUCTs as classes: which name of which structure set is which class."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from volseg.data.layouts.dicom.structures import structure_names
from volseg.errors import UserError, nearest_hint
from volseg.formatting import first_few, format_count
from volseg.schema import name_fault

LONGEST_CLASS = 60
FOREIGN = "{} that refer to it left out: of another patient or study by the header"


@dataclass(frozen=True)
class SeriesStructures:
    """The structures on one series: (class, structure set, name there); and what can't be read.

    A class that several structures have, by their names without capitals and separators, is unclear.
    """

    names: tuple[tuple[str, Path, str], ...]
    faults: tuple[str, ...] = ()

    def drawn(self, classes: Sequence[str]) -> tuple[tuple[str, Path, str], ...]:
        """The structures that are these classes; none where one is missing or unclear."""
        found = [(name, self._matches(name)) for name in classes]
        if not all(len(matches) == 1 for _, matches in found):
            return ()
        return tuple((name, *matches[0]) for name, matches in found)

    def warnings(self, classes: Sequence[str]) -> Iterator[str]:
        """Why a series with structures has no labels."""
        yield from self.faults
        counts = {name: len(self._matches(name)) for name in classes if self.names}
        missing = [name for name, count in counts.items() if not count]
        unclear = [name for name, count in counts.items() if count > 1]
        if missing:
            named = ", ".join(first_few(missing, "classes"))
            yield (
                f"its RTSTRUCT has no structure {named}, so it is taken without labels; an empty structure "
                "says that the organ is absent"
            )
        if unclear:
            named = ", ".join(first_few(unclear, "classes"))
            yield f"several structures on it are {named}, so it is taken without labels; keep one of them"

    def _matches(self, name: str) -> list[tuple[Path, str]]:
        """The structures of exactly this name, else of its letters."""
        exact = [(path, drawn) for known, path, drawn in self.names if known == name]
        alike = [(path, drawn) for known, path, drawn in self.names if _letters(known) == _letters(name)]
        return exact or alike


def read_structures(paths: Sequence[Path], foreign: int = 0) -> SeriesStructures:
    """The structures in the structure sets of one series; so many `foreign` ones only claim to be its."""
    names: list[tuple[str, Path, str]] = []
    faults = [FOREIGN.format(format_count(foreign, "RTSTRUCT"))] if foreign else []
    for path in paths:
        try:
            names += ((class_name(name), path, name) for name in structure_names(path))
        except UserError as error:
            faults.append(str(error))
    return SeriesStructures(tuple(names), tuple(faults))


def class_name(structure: str) -> str:
    """The name of a class for a structure: one that a file can have."""
    safe = re.sub(r"[^\w.+-]+", "_", structure).strip("._-")[:LONGEST_CLASS] or "unnamed"
    return f"{safe}_" if name_fault(safe) or safe.endswith("_probability") else safe


def common_classes(
    labelled: Sequence[SeriesStructures], picked: Sequence[str]
) -> tuple[tuple[str, ...], list[str], list[str]]:
    """The classes that are picked, or that all series have; then notes, and problems."""
    counts = Counter(name for one in labelled for name in dict.fromkeys(name for name, _, _ in one.names))
    if picked:
        known = {_letters(name) for name in counts}
        unknown = [name for name in picked if _letters(name) not in known]
        problems = [
            f"--classes {name}: no structure of that name in any RTSTRUCT{nearest_hint(name, counts)}"
            for name in unknown
        ]
        return tuple(dict.fromkeys(picked)), [], problems
    classes = tuple(name for name, count in counts.items() if count == len(labelled))
    others = [f"{name} ({count})" for name, count in counts.most_common() if count < len(labelled)]
    shown = ", ".join(first_few(others, "structures"))
    total = f"{len(labelled)} series"
    if others and not classes:
        text = f"DICOM: no structure is in the RTSTRUCTs of all {total} ({shown}); pick by --classes"
        return (), [], [text]
    note = f"structures that not all {total} have are left out ({shown}); --classes picks them"
    return classes, [note] if others else [], []


def _letters(name: str) -> str:
    """A name without capitals and separators."""
    return re.sub(r"[\W_]+", "", name).casefold()
