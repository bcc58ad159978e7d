"""Names of slice files: number, size and pixel size, and the faults of a folder that is no stack."""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from volseg.data.volume import LARGEST_MM, SMALLEST_MM
from volseg.errors import UserError
from volseg.formatting import first_few, natural_key

EXAMPLE = "slice_0001_266_266_1.50_1.50.png"
MOST_DECIMALS = 20  # of a length in a name
MOST_PIXELS = 16_384  # a wider slice is a slip of the pen
_NAME = re.compile(r"slice_([0-9]+)_([0-9]+)_([0-9]+)_([0-9]*\.?[0-9]+)_([0-9]*\.?[0-9]+)\.png")


class SliceFile(NamedTuple):
    """A slice by its name; `size` is (columns, rows)."""

    number: int
    size: tuple[int, int]
    pixel_mm: tuple[float, float]
    path: Path


def file_name(number: int, size: tuple[int, int], pixel_mm: tuple[float, float]) -> str:
    """The name of a slice, which `find_slices` reads; `size` is (columns, rows)."""
    width, height = (format_millimetres(side, decimals=2) for side in pixel_mm)
    return f"slice_{number:04d}_{size[0]}_{size[1]}_{width}_{height}.png"


def format_millimetres(length: float, *, decimals: int) -> str:
    """A length without an exponent: with these decimals, and more where a millionth would be lost."""
    texts = (f"{length:.{count}f}" for count in range(decimals, MOST_DECIMALS))
    close = (text for text in texts if abs(float(text) - length) <= 1e-6 * min(1, length))
    return next(close, f"{length:.{MOST_DECIMALS}f}")


def find_slices(folder: Path) -> tuple[list[SliceFile], list[str]]:
    """The slices in order of their numbers, and a line for each PNG that is not named like one."""
    slices, problems = [], []
    for path in _visible_entries(folder):
        if path.suffix.lower() != ".png":
            continue
        named = _NAME.fullmatch(path.name)
        if named is None or not _sizes_plausible(named):
            problems.append(f"{path}: not the name of a slice; expected one like {EXAMPLE}")
            continue
        size, pixel_mm = (int(named[2]), int(named[3])), (float(named[4]), float(named[5]))
        slices.append(SliceFile(int(named[1]), size, pixel_mm, path))
    return sorted(slices), list(first_few(problems, "files"))


def slice_folder(scan: Path) -> Path:
    """Where the slices of a scan's folder lie: in `scans`, or in the folder itself."""
    inner = scan / "scans"
    return inner if inner.is_dir() else scan


def _sizes_plausible(named: "re.Match[str]") -> bool:
    """Whether a name's sizes can be those of a slice."""
    return all(0 < int(named[i]) <= MOST_PIXELS for i in (2, 3)) and all(
        SMALLEST_MM <= float(named[i]) <= LARGEST_MM for i in (4, 5)
    )


def stack_problems(folder: Path, slices: Sequence[SliceFile]) -> Iterator[str]:
    """A line for each reason why the slices are not one stack."""
    twice = [
        f"{folder}: slice number {a.number} twice ({a.path.name} and {b.path.name}); keep one of them"
        for a, b in pairwise(slices)
        if a.number == b.number
    ]
    yield from first_few(twice, "slice numbers twice")
    sizes = [(f"{file.size[0]}x{file.size[1]}", file.path) for file in slices]
    pixels = [(f"{file.pixel_mm[0]}x{file.pixel_mm[1]} mm", file.path) for file in slices]
    for what, pairs in (("sizes", sizes), ("pixel sizes", pixels)):
        first_paths = dict(reversed(pairs))  # the first slice of each size
        texts = [f"{size} ({path.name})" for size, path in pairs if first_paths[size] == path]
        if len(texts) > 1:
            yield f"{folder}: slices of different {what}: {', '.join(first_few(texts, what))}; a scan has one"


def describe_gaps(numbers: Sequence[int]) -> str:
    """`slices 14-16 missing between 13 and 17`, or '' where the sorted numbers run through."""
    holes = [(low, high) for low, high in pairwise(numbers) if high > low + 1]
    if not holes:
        return ""
    missing = describe_runs([number for low, high in holes for number in range(low + 1, high)])
    return f"{missing} missing between {holes[0][0]} and {holes[-1][1]}"


def describe_runs(numbers: Sequence[int]) -> str:
    """`slice 14` or `slices 1-26, 135-144`, by sorted numbers."""
    ends = [(low, high) for low, high in pairwise(numbers) if high > low + 1]
    firsts, lasts = [numbers[0], *(high for _, high in ends)], [*(low for low, _ in ends), numbers[-1]]
    runs = [f"{low}-{high}" if high > low else f"{low}" for low, high in zip(firsts, lasts, strict=True)]
    return f"{'slice' if len(numbers) == 1 else 'slices'} {', '.join(first_few(runs, 'holes'))}"


def visible_folders(path: Path) -> list[Path]:
    """The visible folders in a folder, `case9` before `case10`."""
    folders = [entry for entry in _visible_entries(path) if entry.is_dir()]
    return sorted(folders, key=lambda folder: natural_key(folder.name))


def _visible_entries(folder: Path) -> list[Path]:
    """The entries of a folder without hidden files such as macOS's `._slice_0001...png`."""
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise UserError(f"{folder}: can't be read: {error.strerror}; expected a folder") from error
