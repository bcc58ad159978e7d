"""The JSON file that describes a dataset of volumes: Decathlon's, nnU-Net's, or a MONAI datalist."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from volseg.data.raw import Part
from volseg.data.slices import first, natural
from volseg.data.volume_scan import Values
from volseg.errors import UserError

FILE = "dataset.json"
ENDINGS = (".nii.gz", ".nii", ".mha", ".mhd", ".seg.nrrd", ".nrrd", ".nhdr")
LISTS: dict[str, Part] = {
    "training": "train",
    "validation": "train",
    "test": "test",
    "testing": "test",
}
EXPECTED = (
    f"expected {FILE} of Decathlon or nnU-Net, or a MONAI datalist: "
    '{"labels": {"0": "background", "1": "organ"}, '
    '"training": [{"image": "a.nii.gz", "label": "b.nii.gz"}]}'
)


class Entry(NamedTuple):
    """One scan that a listing names; `label` is None where it has none."""

    name: str
    part: Part
    images: tuple[Path, ...]
    label: Path | None


@dataclass
class Listing:
    """What the file says. `values` is None where it names no labels; `problems` are its faults."""

    path: Path
    channels: tuple[str, ...] = ()
    values: Values | None = None
    entries: list[Entry] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read(root: Path) -> Listing:
    """Read the listing of a folder, or one given by its file.

    Raises:
        UserError: no such folder or file, or no JSON of a known form.
    """
    path = _file(root)
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a JSON file ({error}); {EXPECTED}") from error
    if not isinstance(told, dict):
        raise UserError(f"{path}: not a listing of volumes; {EXPECTED}")
    listing = Listing(path)
    listing.values = _values(told.get("labels"), listing)
    listing.channels = _names(told.get("channel_names", told.get("modality")))
    if any(key in told for key in LISTS):
        listing.entries = _listed(told, listing)
    elif (path.parent / "imagesTr").is_dir() or isinstance(told.get("dataset"), dict):
        listing.entries = _nnunet(told, listing)
    if not listing.entries and not listing.problems:
        raise UserError(f"{path}: names no scans; {EXPECTED}")
    listing.channels = listing.channels or _numbered(listing.entries)
    _check_names(listing)
    return listing


def _file(root: Path) -> Path:
    if root.is_file():
        return root
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; {EXPECTED}")
    if (root / FILE).is_file():
        return root / FILE
    others = sorted(root.glob("*.json"))
    if len(others) == 1:
        return others[0]
    hint = f"; name one of {', '.join(first([o.name for o in others], 'files'))}" if others else ""
    raise UserError(f"{root}: no {FILE}{hint}; {EXPECTED}")


def _values(labels: Any, listing: Listing) -> Values | None:
    """The classes and their values, whichever way round the file has them."""
    if labels is None or labels == {}:
        return None
    if not isinstance(labels, dict):
        listing.problems.append(
            f'{listing.path}: labels: {labels!r}; expected {{"0": "background", ...}}'
        )
        return None
    found: dict[str, tuple[int, ...]] = {}
    for key, value in labels.items():
        by_number = str(key).isdigit() and isinstance(value, str)
        name, numbers = (value, key) if by_number else (key, value)
        some = numbers if isinstance(numbers, list | tuple) else [numbers]
        whole = [int(one) for one in some if str(one).isdigit()]
        if str(name).lower() == "background" and whole in ([0], []):
            continue
        if str(name).lower() == "ignore":
            told = "voxels to ignore are not supported; make them background or leave out the scans"
            listing.problems.append(f"{listing.path}: labels: {told}")
        elif len(whole) != len(some) or not whole or 0 in whole:
            told = f"{name!r} is {numbers!r}; expected whole numbers above 0"
            listing.problems.append(f"{listing.path}: labels: {told}")
        else:
            found[_safe(str(name), found, listing)] = tuple(whole)
    if not found and not listing.problems:
        listing.problems.append(f"{listing.path}: labels: names only the background")
    return tuple(found.items())


def _safe(name: str, taken: Iterable[str], listing: Listing) -> str:
    """A class name that can be a file's."""
    safe = re.sub(r"[^\w.+-]+", "_", name).strip("._") or "unnamed"
    if safe != name:
        listing.notes.append(f"{listing.path}: the class '{name}' is called {safe} here")
    if safe in taken:
        listing.problems.append(f"{listing.path}: labels: two classes would be called {safe}")
    return safe


def _names(told: Any) -> tuple[str, ...]:
    """The channels, in order of their numbers."""
    if isinstance(told, dict):
        return tuple(str(told[key]) for key in sorted(told, key=lambda key: natural(str(key))))
    if isinstance(told, list | tuple):
        return tuple(map(str, told))
    return (told,) if isinstance(told, str) else ()


def _numbered(entries: Sequence[Entry]) -> tuple[str, ...]:
    """Names for channels that have none: as many as the first scan has files."""
    count = len(entries[0].images) if entries else 1
    return ("image",) if count == 1 else tuple(f"channel_{i}" for i in range(count))


def _listed(told: dict[str, Any], listing: Listing) -> list[Entry]:
    """Entries of the lists `training`, `validation` and `test`."""
    folder, found = listing.path.parent, []
    for key, part in LISTS.items():
        items = told.get(key, [])
        for position, item in enumerate(items if isinstance(items, list) else [items]):
            images, label = _pair(item)
            if images is None:
                listing.problems.append(
                    f"{listing.path}: {key}[{position}]: {_short(item)}; "
                    'expected {"image": FILE or [FILE, ...], "label": FILE}'
                )
                continue
            paths = tuple(path for one in images for path in _channel_files(folder / one))
            found.append(Entry("", part, paths, folder / label if label else None))
        if isinstance(items, list) and any(
            isinstance(one, dict) and "fold" in one for one in items
        ):
            listing.notes.append(
                f"{listing.path}: its folds are not used; volseg deals its own, by case"
            )
    names = _stems(entry.images[0] for entry in found)
    return [entry._replace(name=name) for entry, name in zip(found, names, strict=True)]


def _pair(item: Any) -> tuple[list[str] | None, str | None]:
    """The image files and the label file of one item, or None for what is no item."""
    if _is_path(item):
        return [item], None
    if not isinstance(item, dict):
        return None, None
    images, label = item.get("image"), item.get("label")
    images = [images] if isinstance(images, str) else images
    label = label[0] if isinstance(label, list) and len(label) == 1 else label
    right = isinstance(images, list) and images and all(map(_is_path, images))
    fits = right and (label in (None, "") or _is_path(label))
    return (images, label or None) if fits else (None, None)


def _is_path(item: Any) -> bool:
    return isinstance(item, str) and bool(item) and "\0" not in item


def _channel_files(path: Path) -> list[Path]:
    """The file itself, or where it is not there nnU-Net's `case_0000.nii.gz`, `case_0001.nii.gz` ..."""
    stem, ending = _split(path.name)
    others = [] if path.exists() else sorted(path.parent.glob(f"{_literal(stem)}_????{ending}"))
    return [one for one in others if one.name[len(stem) + 1 :][:4].isdigit()] or [path]


def _nnunet(told: dict[str, Any], listing: Listing) -> list[Entry]:
    """Entries of `imagesTr` and `imagesTs`, or of the file's own `dataset`."""
    folder = listing.path.parent
    if isinstance(told.get("dataset"), dict):
        named = told["dataset"].items()
        items = [{"image": one.get("images"), "label": one.get("label")} for _, one in named]
        entries = _listed({"training": items}, listing)
        return [entry._replace(name=str(name)) for entry, (name, _) in zip(entries, named)]  # noqa: B905
    ending = str(told.get("file_ending", ".nii.gz"))
    if ending not in ENDINGS:
        known = ", ".join(ENDINGS)
        raise UserError(f"{listing.path}: file_ending {ending!r} is no volume's; known: {known}")
    parts: tuple[tuple[str, str, Part], ...] = (
        ("imagesTr", "labelsTr", "train"), ("imagesTs", "labelsTs", "test"),
    )  # fmt: skip
    found = []
    for images, labels, part in parts:
        names = _cases(folder / images, ending)
        masks = _cases(folder / labels, ending, channels=False)
        for name in sorted({*names, *(masks if part == "train" else ())}, key=natural):
            label = folder / labels / f"{name}{ending}"
            wanted = part == "train" or name in masks
            expected = [folder / images / f"{name}_0000{ending}"]
            files = names.get(name, expected)
            found.append(Entry(name, part, tuple(files), label if wanted else None))
    return found


def _cases(folder: Path, ending: str, *, channels: bool = True) -> dict[str, list[Path]]:
    """The files of each case in one of nnU-Net's folders, in order of their channels."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.glob(f"*{ending}")):
        stem = path.name.removesuffix(ending)
        numbered = re.fullmatch(r"(.+)_[0-9]{4}", stem) if channels else None
        if not path.name.startswith("."):
            found.setdefault(numbered[1] if numbered else stem, []).append(path)
    return found


def _stems(paths: Iterable[Path]) -> list[str]:
    """A name for each file: its own without the ending, with its folders where two are alike."""
    paths = list(paths)
    short = [_stem(path) for path in paths]
    counted = Counter(short)
    return [
        name if counted[name] == 1 else "_".join([*path.parent.parts[-2:], name]).strip("_/.")
        for name, path in zip(short, paths, strict=True)
    ]


def _stem(path: Path) -> str:
    """The file's name without the ending and without nnU-Net's number of the first channel."""
    return _split(path.name)[0].removesuffix("_0000")


def _split(name: str) -> tuple[str, str]:
    ending = next((known for known in ENDINGS if name.endswith(known)), Path(name).suffix)
    return name.removesuffix(ending), ending


def _literal(text: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", text)


def _short(item: Any) -> str:
    text = repr(item)
    return text if len(text) < 60 else f"{text[:57]}..."


def _check_names(listing: Listing) -> None:
    """Names that two scans have, or that are no file names, are problems of the whole."""
    counted = Counter(entry.name for entry in listing.entries)
    listing.problems += first(_bad_names(listing.path, counted), "names")


def _bad_names(path: Path, counted: Counter[str]) -> list[str]:
    return [*_twice(path, counted), *_unsafe(path, counted)]


def _twice(path: Path, counted: Counter[str]) -> Iterator[str]:
    for name, count in counted.items():
        if count > 1:
            yield f"{path}: {count} scans are called {name}; keep one or rename the files"


def _unsafe(path: Path, counted: Counter[str]) -> Iterator[str]:
    for name in counted:
        if not re.fullmatch(r"[^\x00/\\]+", name) or name.startswith("."):
            yield f"{path}: {name!r} can't be a scan's name; rename its file"
