"""What the names of volume files tell: their scan, their channel, and whether they can be names here."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from volseg.errors import short_repr

ENDINGS = (".nii.gz", ".nii", ".mha", ".mhd", ".seg.nrrd", ".nrrd", ".nhdr")
LONGEST = 200  # of the 255 bytes that a file's name may have
_CHANNEL = re.compile(r"(.+)_([0-9]{4})")


def is_path(told: Any) -> bool:
    """Whether this could be a file's path, so that one may ask whether it is there."""
    if not isinstance(told, str) or not told or not told.isprintable():
        return False
    return len(told.encode()) < 3000 and all(len(part.encode()) < 256 for part in told.split("/"))


def channel_files(path: Path) -> list[Path]:
    """The file itself, or where it is not there nnU-Net's `case_0000.nii.gz`, `case_0001.nii.gz` ..."""
    stem, ending = _split_ending(path.name)
    others = [] if path.exists() else sorted(path.parent.glob(f"{_escape_glob(stem)}_????{ending}"))
    numbered = [one for one in others if re.fullmatch("[0-9]{4}", one.name[len(stem) + 1 :][:4])]
    return _with_missing_channels(numbered, ending) or [path]


def files_by_case(folder: Path, ending: str, *, channels: bool = True) -> dict[str, list[Path]]:
    """The files of each case in one of nnU-Net's folders, in order of their channels."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.glob(f"*{ending}")):
        stem = path.name.removesuffix(ending)
        numbered = _CHANNEL.fullmatch(stem) if channels else None
        if not path.name.startswith("."):
            found.setdefault(numbered[1] if numbered else stem, []).append(path)
    return (
        {name: _with_missing_channels(paths, ending) for name, paths in found.items()} if channels else found
    )


def _with_missing_channels(paths: Sequence[Path], ending: str) -> list[Path]:
    """With the files that are missing before the last channel, so that they are missed."""
    numbered = [_CHANNEL.fullmatch(path.name.removesuffix(ending)) for path in paths]
    if not paths or not all(numbered):
        return list(paths)
    stem, last = numbered[-1].groups()  # type: ignore[union-attr]
    return [paths[0].with_name(f"{stem}_{i:04d}{ending}") for i in range(int(last) + 1)]


def unique_stems(paths: Iterable[Path]) -> list[str]:
    """A name for each file: its own without the ending, with its folders where two are alike."""
    paths = list(paths)
    own = [_scan_stem(path) for path in paths]
    counted = Counter(own)
    return [
        name if counted[name] == 1 else "_".join([*path.parent.parts[-2:], name]).strip("_/.")
        for name, path in zip(own, paths, strict=True)
    ]


def _scan_stem(path: Path) -> str:
    """The file's name without the ending and without nnU-Net's number of the first channel."""
    return _split_ending(path.name)[0].removesuffix("_0000")


def _split_ending(name: str) -> tuple[str, str]:
    ending = next((known for known in ENDINGS if name.endswith(known)), Path(name).suffix)
    return name.removesuffix(ending), ending


def _escape_glob(text: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", text)


def name_faults(path: Path, names: Iterable[str]) -> list[str]:
    """Names that two scans of a listing have, or that are no file names."""
    counted = Counter(names)
    return [*_duplicate_names(path, counted), *_unsafe_names(path, counted)]


def _duplicate_names(path: Path, counted: Counter[str]) -> Iterator[str]:
    for name, count in counted.items():
        if count > 1:
            yield f"{path}: {count} scans are called {name}; keep one or rename the files"


def _unsafe_names(path: Path, counted: Counter[str]) -> Iterator[str]:
    for name in counted:
        long = len(name.encode()) > LONGEST
        if long or not name.isprintable() or not re.fullmatch(r"[^./\\][^/\\]*", name):
            yield f"{path}: {short_repr(name)} can't be a scan's name; rename its file"
