"""What a listing of volumes says: its classes, channels and scans."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from volseg.data.layouts.nifti.label_files import ClassValues
from volseg.data.layouts.nifti.near_names import NearNames
from volseg.data.layouts.raw_dataset import Part
from volseg.errors import short_repr
from volseg.formatting import first_few
from volseg.schema import name_fault

PROBABILITY = "_probability"  # the end of the names of a class's other files, by `infer`
LONGEST_CLASS = 60  # of the 255 bytes that a file's name may have, for letters of up to 4 bytes


class DatalistEntry(NamedTuple):
    """One scan that a listing names.

    `label` is its map of labels, `masks` are files of one class each; it may have neither. `case` and
    `day` are those that the listing states.
    """

    name: str
    part: Part
    images: tuple[Path, ...]
    label: Path | None = None
    masks: tuple[tuple[str, Path], ...] = ()
    case: str = ""
    day: int | None = None

    @property
    def label_files(self) -> tuple[Path, ...]:
        """All files of labels."""
        return (*([self.label] if self.label else []), *(path for _, path in self.masks))


@dataclass
class Datalist:
    """The content of a listing. `values` is None where it names no labels; `problems` are its faults.

    `renamed` are classes whose names can't be those of files, with the names that they have here.
    """

    path: Path
    channels: tuple[str, ...] = ()
    values: ClassValues | None = None
    entries: list[DatalistEntry] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    near: NearNames = field(default_factory=lambda: NearNames(Path()))

    def add_note(self, note: str) -> None:
        """Add a note once."""
        if note not in self.notes:
            self.notes.append(note)

    def safe_class_name(self, name: str) -> str:
        """A class name that can be a file's; a note tells if it is another."""
        safe = re.sub(r"[^\w.+-]+", "_", name).strip("._-")[:LONGEST_CLASS] or "unnamed"
        if name_fault(safe):  # a device of Windows, whatever stands behind a dot
            stem, dot, ending = safe.partition(".")
            safe = f"{stem}_{dot}{ending}"
        if safe.endswith(PROBABILITY):
            safe = f"{safe}_"
        if safe != name:
            self.renamed[name] = safe
        return safe

    def renaming_notes(self) -> Iterator[str]:
        """A line on classes that are called otherwise than in the listing."""
        if len(self.renamed) == 1:
            ((name, safe),) = self.renamed.items()
            yield f"{self.path}: the class {short_repr(name)} is called {safe} here"
        elif self.renamed:
            pairs = [f"{short_repr(name)} {safe}" for name, safe in self.renamed.items()]
            yield f"{self.path}: classes are called otherwise here: {', '.join(first_few(pairs, 'classes'))}"

    def name_mask_classes(self, names: Iterable[str]) -> None:
        """Take these names of mask files for the classes, where the listing names none."""
        if self.values is None and not self.problems:
            self.values = tuple((name, (number,)) for number, name in enumerate(names, start=1)) or None
