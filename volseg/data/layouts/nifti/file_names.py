"""Names of volume files: their scan, their channel, and their faults."""

import glob
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from volseg.data import volume_files
from volseg.errors import short_repr
from volseg.schema import name_fault

MOST_CHANNELS = 10  # unless more are stated; more numbers are those of cases
CHANNEL = re.compile(r"(.+)_([0-9]{4})")


def is_path(value: Any) -> bool:
    """Whether a value can be the path of a file, there or not."""
    if not isinstance(value, str) or not value or not value.isprintable():
        return False
    return len(value.encode()) < 3000 and all(len(part.encode()) < 256 for part in value.split("/"))


def channel_files(path: Path) -> list[Path]:
    """nnU-Net's `case_0000.nii.gz`, `case_0001.nii.gz` ... of a missing file; none where it is there."""
    stem, ending = split_ending(path.name)
    files = (
        [] if path.exists() else sorted(path.parent.glob(f"{glob.escape(stem)}_????{glob.escape(ending)}"))
    )
    numbered = [file for file in files if re.fullmatch("[0-9]{4}", file.name[len(stem) + 1 :][:4])]
    first = path.with_name(f"{stem}_0000{ending}")
    return _with_missing_channels(numbered, ending) if first in numbered else []


def files_by_case(
    folder: Path, ending: str, *, whole: Collection[str] = (), channels: int = 0
) -> dict[str, list[Path]]:
    """The images of each case in one of nnU-Net's folders, in order of their channels.

    A number at the end is no channel, but part of a case's name, where the whole name is that of a label
    (one of `whole`), or where no label has the name without it and the numbers can't be those of so many
    `channels`.
    """
    stems = [name.removesuffix(ending) for name in _visible_names(folder, ending)]
    numbers: dict[str, list[int]] = {}
    for named in filter(None, map(CHANNEL.fullmatch, stems)):
        numbers.setdefault(named[1], []).append(int(named[2]))
    cases = {
        case
        for case, found in numbers.items()
        if any(f"{case}_{number:04d}" in whole for number in found)
        or (
            case not in whole and max(found) >= (max(2 * channels, MOST_CHANNELS) if 0 in found else channels)
        )
    }
    files: dict[str, list[Path]] = {}
    for stem in stems:
        parts = CHANNEL.fullmatch(stem)
        case = parts[1] if parts and parts[1] not in cases else stem
        files.setdefault(case, []).append(folder / f"{stem}{ending}")
    return {
        case: _with_missing_channels(paths, ending) if paths[0].name != f"{case}{ending}" else paths
        for case, paths in files.items()
    }


def label_stems(folder: Path, ending: str) -> list[str]:
    """The names of the files in a folder of labels, without their ending."""
    return [name.removesuffix(ending) for name in _visible_names(folder, ending)]


def folder_ending(folder: Path, ending: str) -> str:
    """The ending of a folder's volumes: this one, or where no file has it, the only other one."""
    if not folder.is_dir() or _visible_names(folder, ending):
        return ending
    names = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
    found = {volume_files.split_ending(name)[1] for name in names} - {""}
    return found.pop() if len(found) == 1 else ending


def _visible_names(folder: Path, ending: str) -> list[str]:
    paths = sorted(folder.glob(f"*{glob.escape(ending)}"))
    return [path.name for path in paths if not path.name.startswith(".") and path.name != ending]


def _with_missing_channels(paths: Sequence[Path], ending: str) -> list[Path]:
    """The files of all channels up to the last one, so that missing ones are found."""
    numbered = [CHANNEL.fullmatch(path.name.removesuffix(ending)) for path in paths]
    if not paths or not all(numbered):
        return list(paths)
    stem, last = numbered[-1].groups()  # type: ignore[union-attr]
    return [paths[0].with_name(f"{stem}_{i:04d}{ending}") for i in range(int(last) + 1)]


def unique_stems(paths: Sequence[Path]) -> list[str]:
    """A name for each file, without its ending and `_0000`, with its folders where two are alike."""
    stems = list(zip(paths, _without_channel([split_ending(path.name)[0] for path in paths]), strict=True))
    counts = Counter(stem for _, stem in stems)
    return [
        stem if counts[stem] == 1 else "_".join([*path.parent.parts[-2:], stem]).strip("_/.")
        for path, stem in stems
    ]


def _without_channel(stems: Sequence[str]) -> list[str]:
    """The stems without `_0000`, unless other numbers in its place show that it is a scan's."""
    others = {named[1] for named in map(CHANNEL.fullmatch, stems) if named and named[2] != "0000"}
    return [stem if stem.removesuffix("_0000") in others else stem.removesuffix("_0000") for stem in stems]


def split_ending(name: str) -> tuple[str, str]:
    """The name without its ending, and the ending."""
    stem, ending = volume_files.split_ending(name)
    return (stem, ending) if ending else (Path(name).stem, Path(name).suffix)


def name_faults(path: Path, names: Iterable[str]) -> Iterator[str]:
    """A line for each name in a listing that several scans have, or that can't be a file's name."""
    counts = Counter(names)
    for name, count in counts.items():
        if count > 1:
            yield f"{path}: {count} scans are called {name}; keep one or rename the files"
    for name in counts:
        if fault := name_fault(name):
            yield f"{path}: {short_repr(name)} can't be a scan's name: {fault}; rename its file"
