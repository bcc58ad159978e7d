"""Names of volume files: their scan, their channel, and their faults."""

import glob
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from volseg.errors import short_repr
from volseg.schema import name_fault

ENDINGS = (".nii.gz", ".nii", ".mha", ".mhd", ".seg.nrrd", ".nrrd", ".nhdr")
_CHANNEL = re.compile(r"(.+)_([0-9]{4})")


def is_path(value: Any) -> bool:
    """Whether a value can be the path of a file, there or not."""
    if not isinstance(value, str) or not value or not value.isprintable():
        return False
    return len(value.encode()) < 3000 and all(len(part.encode()) < 256 for part in value.split("/"))


def channel_files(path: Path) -> list[Path]:
    """The file itself, or if it is missing nnU-Net's `case_0000.nii.gz`, `case_0001.nii.gz` ..."""
    stem, ending = _split_ending(path.name)
    files = [] if path.exists() else sorted(path.parent.glob(f"{glob.escape(stem)}_????{ending}"))
    numbered = [file for file in files if re.fullmatch("[0-9]{4}", file.name[len(stem) + 1 :][:4])]
    return _with_missing_channels(numbered, ending) or [path]


def files_by_case(folder: Path, ending: str, *, channels: bool = True) -> dict[str, list[Path]]:
    """The files of each case in one of nnU-Net's folders, in order of their channels."""
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.glob(f"*{ending}")):
        stem = path.name.removesuffix(ending)
        numbered = _CHANNEL.fullmatch(stem) if channels else None
        if not path.name.startswith("."):
            files.setdefault(numbered[1] if numbered else stem, []).append(path)
    if not channels:
        return files
    return {name: _with_missing_channels(paths, ending) for name, paths in files.items()}


def _with_missing_channels(paths: Sequence[Path], ending: str) -> list[Path]:
    """The files of all channels up to the last one, so that missing ones are found."""
    numbered = [_CHANNEL.fullmatch(path.name.removesuffix(ending)) for path in paths]
    if not paths or not all(numbered):
        return list(paths)
    stem, last = numbered[-1].groups()  # type: ignore[union-attr]
    return [paths[0].with_name(f"{stem}_{i:04d}{ending}") for i in range(int(last) + 1)]


def unique_stems(paths: Iterable[Path]) -> list[str]:
    """A name for each file, without its ending and `_0000`, with its folders where two are alike."""
    stems = [(path, _split_ending(path.name)[0].removesuffix("_0000")) for path in paths]
    counts = Counter(stem for _, stem in stems)
    return [
        stem if counts[stem] == 1 else "_".join([*path.parent.parts[-2:], stem]).strip("_/.")
        for path, stem in stems
    ]


def _split_ending(name: str) -> tuple[str, str]:
    ending = next((known for known in ENDINGS if name.endswith(known)), Path(name).suffix)
    return name.removesuffix(ending), ending


def name_faults(path: Path, names: Iterable[str]) -> Iterator[str]:
    """A line for each name in a listing that several scans have, or that can't be a file's name."""
    counts = Counter(names)
    for name, count in counts.items():
        if count > 1:
            yield f"{path}: {count} scans are called {name}; keep one or rename the files"
    for name in counts:
        if fault := name_fault(name):
            yield f"{path}: {short_repr(name)} can't be a scan's name: {fault}; rename its file"
