"""What `--input` names: volumes, channels in several files, folders of volumes, folders of slices."""

import logging
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from volseg.data.layouts.dicom.files import holds_dicom
from volseg.data.volume_files import missing_reason, split_ending
from volseg.errors import UserError
from volseg.formatting import format_count, natural_key

UNREAD = "the DICOM files in it are not read; give them a folder of their own"

log = logging.getLogger(__name__)
_NUMBERED = re.compile(r"(.+)_([0-9]{4})")


class InputFiles(NamedTuple):
    """A scan by its own name: the files of its channels in order, or its one folder of slices.

    `problem` says why they make no scan.
    """

    name: str
    paths: tuple[Path, ...]
    problem: str = ""


def find_input_files(paths: Sequence[Path], channels: Sequence[str]) -> list[InputFiles]:
    """The scans of files and folders, for a run of these channels.

    Of a folder of volumes each is a scan. Files NAME_0000, NAME_0001 and so on are the channels of NAME; for
    a run of one channel they are scans, and a number 0000 that stands alone is no part of the name.

    Raises:
        UserError: paths that do not exist or are named twice, all of them.
    """
    problems = [
        f"{path}: {missing_reason(path, 'no such file or folder')}; "
        f"expected a volume, a folder of volumes or of slices{_near_hint(path)}"
        for path in paths
        if not path.exists()
    ]
    places = [place for path in paths if path.exists() for place in _volumes_or_slices(path)]
    counts = Counter(map(os.path.abspath, places))
    problems += [f"{path}: named twice; name each scan once" for path, count in counts.items() if count > 1]
    if problems:
        raise UserError.from_problems(problems)
    groups: dict[tuple[Path, str], dict[Path, int]] = defaultdict(dict)
    for place in places:
        numbered = _NUMBERED.fullmatch(_file_stem(place)) if place.is_file() else None
        key = (place.parent, numbered[1]) if numbered else (place, "")
        groups[key][place] = int(numbered[2]) if numbered else 0
    return [one for (_, name), files in groups.items() for one in _scans_of_group(name, files, channels)]


def _near_hint(missing: Path) -> str:
    """A question for volumes beside a missing one that differ in ending, capitals or `_0000`."""
    stem = _file_stem(missing).lower().removesuffix("_0000")
    beside = sorted(path.name for path in missing.parent.glob("[!.]*") if _is_volume(path.name))
    near = [name for name in beside if _file_stem(Path(name)).lower().removesuffix("_0000") == stem]
    return f"; did you mean {', '.join(near)}?" if near and not missing.is_symlink() else ""


def distinct_names(scans: Sequence[tuple[str, Path]]) -> list[str]:
    """A name for each scan by its own and its place: behind names of folders where others have the same.

    So many folders are named as tell the scans apart, with or without regard to case.
    """
    parents = [Path(os.path.abspath(place)).parts[1:-1] for _, place in scans]  # noqa: PTH100 - links stay
    names = [name for name, _ in scans]
    for depth in range(1, max(map(len, parents), default=0) + 1):
        counts = Counter(map(str.casefold, names))
        for position, (name, _) in enumerate(scans):
            if counts[names[position].casefold()] > 1:
                names[position] = "_".join((*parents[position][-depth:], name))
    return names


def channels_problem(found: int, wanted: Sequence[str]) -> str:
    """A line on a scan with other channels than the run's, and on how to give several."""
    problem = f"has {format_count(found, 'channel')}; the run needs {', '.join(wanted)}"
    if len(wanted) == 1:
        return problem
    files = ", ".join(f"NAME_{number:04d} ({name})" for number, name in enumerate(wanted))
    return f"{problem}: pass the files {files}, or one 4D file whose fourth dimension is channels"


def _volumes_or_slices(path: Path) -> Iterator[Path]:
    """The volumes in a folder without slices, in natural order; any other path itself."""
    files = []
    if path.is_dir() and not (path / "scans").is_dir() and not any(path.glob("*.png")):
        files = [file for file in path.iterdir() if file.is_file() and _is_volume(file.name)]
    if files and holds_dicom(path):
        log.warning("a folder of --input holds %s: %s", format_count(len(files), "volume"), UNREAD)
    yield from sorted(files, key=lambda file: natural_key(file.name)) or [path]


def _is_volume(name: str) -> bool:
    return bool(split_ending(name)[1]) and not name.startswith(".")


def _file_stem(path: Path) -> str:
    """A volume's name without its ending."""
    stem, ending = split_ending(path.name)
    return (stem if ending else path.stem) or path.name


def _scans_of_group(name: str, files: dict[Path, int], channels: Sequence[str]) -> Iterator[InputFiles]:
    """The scans of files with one name that differ in the number behind it."""
    ordered = sorted(files, key=lambda path: files[path])
    if len(files) == 1 or len(channels) == 1:
        for path in ordered:
            alone = name and len(files) == 1 and files[path] == 0
            yield InputFiles(name if alone else _file_stem(path), (path,))
        return
    numbers = [files[path] for path in ordered]
    problem = ""
    if numbers != list(range(len(numbers))):
        found = ", ".join(path.name for path in ordered)
        wanted = ", ".join(f"{name}_{number:04d}" for number in range(len(channels)))
        problem = f"{ordered[0].parent}: of {name} there are {found}; expected {wanted}, each once"
    yield InputFiles(name, tuple(ordered), problem)
