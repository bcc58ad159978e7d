"""Files that are there under nearly the name that a listing gives."""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from volseg.data.layouts.nifti.file_names import split_ending
from volseg.data.volume_files import ENDINGS


class NearNames:
    r"""Finds the files of a listing in its folder, and tells which bear other names than it gives.

    A name is near with `\` for `/`, other capitals, another ending, with or without `_0000`, or if its last
    folders lie here, as those of another computer's path. Of several near files none is taken.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._listed: dict[Path, list[str]] = {}
        self._named: dict[str, int] = defaultdict(int)
        self._near: dict[tuple[str, str], list[tuple[str, Path]]] = defaultdict(list)

    def find(self, text: str, what: str) -> Path:
        """The file of this name, else one of a near name, else the path; `what` is its role."""
        self._named[what] += 1
        path = self.folder / text
        if os.path.lexists(path):
            return path
        near = self._search(text)
        if near is None:
            return path
        self._near[what, describe_difference(text, near.name)].append((text, near))
        return near

    def add(self, what: str, how: str, text: str, path: Path) -> None:
        """Count a file that was found otherwise than it is named."""
        self._named[what] += 1
        self._near[what, how].append((text, path))

    def messages(self) -> Iterator[str]:
        """A line for each kind of difference."""
        for (what, how), pairs in self._near.items():
            total, (text, path) = self._named[what], pairs[0]
            shown = path.relative_to(self.folder) if path.is_relative_to(self.folder) else path
            yield (
                f"{len(pairs)} of {total} {what} are taken from files of nearly their name: "
                f"{how} (such as {shown} for {text})"
            )

    def _search(self, text: str) -> Path | None:
        parts = [part for part in text.replace("\\", "/").split("/") if part not in ("", ".")]
        absolute = text[:1] in "/\\" or text[1:2] == ":"
        for start in range(int(absolute), max(len(parts) - 1, 1)):
            found = self._match(self.folder, parts[start:])
            if found is not None:
                return found
        return None

    def _match(self, folder: Path, parts: Sequence[str]) -> Path | None:
        first, *others = parts
        if first == "..":
            return self._match(folder.parent, others) if others else None
        names = self._names(folder)
        if not others:
            near = _nearest_name(first, names)
            return folder / near if near else None
        alike = [first] if first in names else [name for name in names if name.lower() == first.lower()]
        return self._match(folder / alike[0], others) if len(alike) == 1 else None

    def _names(self, folder: Path) -> list[str]:
        if folder not in self._listed:
            try:
                self._listed[folder] = sorted(path.name for path in folder.iterdir())
            except OSError:
                self._listed[folder] = []
        return self._listed[folder]


def _nearest_name(name: str, names: Sequence[str]) -> str | None:
    """The only name that is the nearest to this one."""
    stem, ending = split_ending(name)
    by_distance: dict[tuple[bool, bool, bool], list[str]] = defaultdict(list)
    for other in names:
        other_stem, other_ending = split_ending(other)
        if other_ending.lower() not in ENDINGS or _plain_stem(stem) != _plain_stem(other_stem):
            continue
        numbered = stem.endswith("_0000") != other_stem.endswith("_0000")
        cut = {stem.removesuffix("_0000"), other_stem.removesuffix("_0000")}
        by_distance[len(cut) > 1, numbered, ending != other_ending].append(other)
    nearest = by_distance[min(by_distance)] if by_distance else []
    return nearest[0] if len(nearest) == 1 else None


def _plain_stem(stem: str) -> str:
    return stem.removesuffix("_0000").lower()


def describe_difference(text: str, found: str) -> str:
    """The difference of the names of two files in words."""
    name = text.replace("\\", "/").rpartition("/")[2]
    (stem, ending), (other, other_ending) = split_ending(name), split_ending(found)
    words = {
        "with / for \\": "\\" in text,
        "with _0000": other.endswith("_0000") and not stem.endswith("_0000"),
        "without _0000": stem.endswith("_0000") and not other.endswith("_0000"),
        f"as {other_ending}, not {ending or 'without an ending'}": ending != other_ending,
        "with other capitals": stem.removesuffix("_0000") != other.removesuffix("_0000"),
    }
    told = [word for word, holds in words.items() if holds]
    return ", ".join(told) or "in the folders of this computer"
