"""A raw scan of PNG slices, read as a volume with its masks.

PNG rows and columns are turned into (X, Y, Z) = (column, row, slice) here and nowhere else.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from volseg.data.layouts.findings import Finding, note_finding
from volseg.data.layouts.gi_tract import png, rle, slice_files
from volseg.data.layouts.gi_tract.annotations import ScanRows
from volseg.data.layouts.gi_tract.rle_csv import slice_id
from volseg.data.layouts.gi_tract.slice_files import EXAMPLE, visible_folders
from volseg.data.layouts.raw_dataset import Mask, Masks, RawScan, file_stamps
from volseg.data.scan_names import case_and_day
from volseg.data.volume import Volume, stack_affine
from volseg.data.volume_files import folder_content
from volseg.errors import UserError
from volseg.formatting import first_few

NAME = re.compile(r"(case[0-9]+)_day([0-9]+)")
SLICE_MM = 3.0  # not in the file names; the data's documentation gives it


@dataclass(frozen=True)
class SliceScan(RawScan):
    """A scan of slices; `rows` is None without labels.

    `paths` and `numbers` go from head to feet; `size` is (columns, rows); with `allow_gaps` numbers
    may be missing in the middle, of which `notes` tell.
    """

    folder: Path
    paths: tuple[Path, ...] = ()
    size: tuple[int, int] = (0, 0)
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    rows: ScanRows | None = None
    allow_gaps: bool = False
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """(X, Y, Z) = (columns, rows, slices)."""
        return (*self.size, len(self.paths))

    @property
    def source(self) -> Path:
        """The scan's folder."""
        return self.folder

    @property
    def files(self) -> tuple[Path, ...]:
        """The slices."""
        return self.paths

    @property
    def stamp(self) -> tuple[str, ...]:
        """Files with size and time, the hash of the rows, and the settings."""
        rows = self.rows.digest if self.rows else "no rows"
        settings = f"{self.spacing_mm} {self.allow_gaps}"
        return (*file_stamps(self.paths, self.folder), rows, settings)

    def image(self) -> Volume:
        """The stack of slices, uint16 (X, Y, Z), values as they are stored.

        Raises:
            UserError: slices that are damaged, not 16-bit greyscale or not of the size in their name; all.
        """
        stack = np.empty(0, dtype=np.uint16)
        problems = []
        for position, path in enumerate(self.paths):
            try:
                plane = _read_slice(path, self.size)
            except UserError as error:
                problems.append(str(error))
                continue
            if not stack.size:  # a name may state any size: memory is taken once a slice has it
                stack = np.empty((len(self.paths), *plane.shape), dtype=np.uint16)
            stack[position] = plane
        if problems:
            raise UserError.from_problems(first_few(problems, "slices"))
        return Volume(stack.transpose(2, 1, 0), stack_affine(self.spacing_mm[:2], self.spacing_mm[2]))

    def channels(self) -> tuple[Volume]:
        """The image as the only channel."""
        return (self.image(),)

    def remarks(self, masks: Masks | None = None) -> list[Finding]:
        """A note on missing slices that are allowed, a warning where rows are of slices at the ends."""
        notes = [note_finding(note, kind="gap", scan=self.name) for note in self.notes]
        missing = self.rows.missing_slices(self.numbers) if self.rows and masks is not None else []
        return [*notes, *self._missing_slices(missing)]

    def _missing_slices(self, numbers: Sequence[int]) -> Iterator[Finding]:
        if numbers and self.rows:
            listed = slice_files.describe_runs(numbers)
            yield Finding(
                scan=self.name,
                severity="warning",
                kind="rows without image",
                message=f"{self.rows.path}: has rows of {listed} of {self.name}, which are not there",
                slices=tuple(numbers),
            )

    def labels(
        self,
        classes: Sequence[str],
        image: Volume | None = None,  # noqa: ARG002 - names tell the size
    ) -> dict[str, Mask] | None:
        """A bool mask (X, Y, Z) for each class, which may overlap; None without rows."""
        if self.rows is None:
            return None
        texts = self.rows.rle_texts(self.name, self.numbers, classes)
        columns, rows = self.size
        masks, problems = {}, []
        for class_name in classes:
            stack = np.zeros((len(self.paths), rows, columns), dtype=bool)
            for number, text, plane in zip(self.numbers, texts[class_name], stack, strict=True):
                try:
                    if text:
                        plane[:] = rle.decode(text, self.size).T
                except UserError as error:
                    row = f"{slice_id(self.name, number)}, {class_name}"
                    problems.append(f"{self.rows.path}: {row}: {error}")
            masks[class_name] = stack.transpose(2, 1, 0)
        if problems:
            raise UserError.from_problems(first_few(problems, "masks"))
        return masks


def read_folder(path: Path, *, slice_mm: float = SLICE_MM, allow_gaps: bool = False) -> SliceScan:
    """The scan of a folder: `case123_day20`, its `scans`, a case of one day, or any with slices.

    Case and day are those that the folder's name tells.

    Raises:
        UserError: no such folder, no slices, several days, or names that make no stack.
    """
    if not path.is_dir():
        what = "is a file" if path.exists() else "no such folder"
        raise UserError(f"{path}: {what}; expected a folder of slices such as {EXAMPLE}")
    folder = _scan_folder(path)
    name = folder.resolve().name
    scan = SliceScan(*case_and_day(name), name, "test", folder)
    return with_slice_files(scan, slice_mm=slice_mm, allow_gaps=allow_gaps)


def with_slice_files(scan: SliceScan, *, slice_mm: float, allow_gaps: bool) -> SliceScan:
    """The scan with paths, numbers, size and spacing by the names of the slices in its folder.

    Raises:
        UserError: no slices, or names that make no stack; all problems, each with its place.
    """
    slices, problems = slice_files.find_slices(slice_files.slice_folder(scan.folder))
    if not slices and not problems:
        content = folder_content(scan.folder)
        what = f"a folder{content}, no slices" if content else "no slices"
        raise UserError(f"{scan.folder}: {what}; expected scans/{EXAMPLE}")
    numbers = tuple(file.number for file in slices)
    gaps = slice_files.describe_gaps(numbers)
    problems += slice_files.stack_problems(scan.folder, slices)
    if gaps and not allow_gaps:
        problems.append(f"{scan.folder}: {gaps}; re-download the scan or pass --allow-gaps")
    if problems:
        raise UserError.from_problems(problems)
    note = f"{scan.folder}: {gaps}; the other slices are stacked as if they touched"
    return replace(
        scan,
        paths=tuple(file.path for file in slices),
        numbers=numbers,
        size=slices[0].size,
        spacing_mm=(*slices[0].pixel_mm, slice_mm),
        allow_gaps=allow_gaps,
        notes=(note,) if gaps else (),
    )


def _scan_folder(path: Path) -> Path:
    """The folder that is named after the scan: the path, its parent or the only day of a case."""
    if path.resolve().name == "scans":
        return path.parent if path.name == "scans" else path.resolve().parent
    if (path / "scans").is_dir() or any(path.glob("*.png")):
        return path
    days = [folder for folder in visible_folders(path) if NAME.fullmatch(folder.name)]
    if len(days) > 1:
        named = ", ".join(first_few([day.name for day in days], "days"))
        raise UserError(f"{path}: holds {len(days)} days ({named}); give the folder of one day")
    return days[0] if days else path


def _read_slice(path: Path, size: tuple[int, int]) -> npt.NDArray[np.uint16]:
    """The pixels (rows, columns) of a slice whose name states this size (columns, rows)."""
    pixels = png.read(path)
    rows, columns = pixels.shape
    if (columns, rows) != size:
        raise UserError(
            f"{path}: {columns} columns x {rows} rows, but its name says {size[0]} x {size[1]}; "
            "re-download the scan or correct the name"
        )
    return pixels
