"""The JSON file that describes a dataset of volumes: Decathlon's, nnU-Net's, or a MONAI datalist."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from volseg.data.layouts.nifti import file_names
from volseg.data.layouts.nifti.volume_scan import ClassValues
from volseg.data.layouts.raw_dataset import Part
from volseg.errors import UserError, short_repr
from volseg.formatting import first_few, natural_key

FILE = "dataset.json"
LONGEST_CLASS = 60  # of the 255 bytes that a file's name may have, for letters of up to 4 bytes
LISTS: dict[str, Part] = {"training": "train", "validation": "train", "test": "test", "testing": "test"}
EXPECTED = (
    f"expected {FILE} of Decathlon or nnU-Net, or a MONAI datalist: "
    '{"labels": {"0": "background", "1": "organ"}, '
    '"training": [{"image": "a.nii.gz", "label": "b.nii.gz"}]}'
)
_NUMBER = re.compile(r"[0-9]{1,9}")


class DatalistEntry(NamedTuple):
    """One scan that a listing names; `label` is None where it has none."""

    name: str
    part: Part
    images: tuple[Path, ...]
    label: Path | None


@dataclass
class Datalist:
    """What the file says. `values` is None where it names no labels; `problems` are its faults."""

    path: Path
    channels: tuple[str, ...] = ()
    values: ClassValues | None = None
    entries: list[DatalistEntry] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read(root: Path) -> Datalist:
    """Read the listing of a folder, or one given by its file.

    Raises:
        UserError: no such folder or file, or no JSON of a known form.
    """
    path = _find_file(root)
    try:
        told = json.loads(path.read_bytes(), object_pairs_hook=_unique_keys)
        json.dumps(told, ensure_ascii=False).encode()  # halves of characters can't be written again
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a JSON file ({error}); {EXPECTED}") from error
    if not isinstance(told, dict):
        raise UserError(f"{path}: not a listing of volumes; {EXPECTED}")
    listing = Datalist(path)
    listing.values = _class_values(told.get("labels"), listing)
    listing.channels = _channel_names(told.get("channel_names", told.get("modality")))
    if any(key in told for key in LISTS):
        listing.entries = _datalist_entries(told, listing)
    elif (path.parent / "imagesTr").is_dir() or isinstance(told.get("dataset"), dict):
        listing.entries = _nnunet_entries(told, listing)
    if not listing.entries and not listing.problems:
        raise UserError(f"{path}: names no scans; {EXPECTED}")
    listing.channels = listing.channels or _numbered_channels(listing.entries)
    listing.problems += first_few(
        file_names.name_faults(path, [one.name for one in listing.entries]), "names"
    )
    return listing


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; Python would keep the last of two equal keys."""
    twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
    if twice:
        raise ValueError(f"the key {short_repr(twice[0])} twice in one object")
    return dict(pairs)


def _find_file(root: Path) -> Path:
    if root.is_file():
        return root
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; {EXPECTED}")
    if (root / FILE).is_file():
        return root / FILE
    others = sorted(root.glob("*.json"))
    if len(others) == 1:
        return others[0]
    hint = f"; name one of {', '.join(first_few([o.name for o in others], 'files'))}" if others else ""
    raise UserError(f"{root}: no {FILE}{hint}; {EXPECTED}")


def _class_values(labels: Any, listing: Datalist) -> ClassValues | None:
    """The classes and their values, whichever way round the file has them."""
    if labels is None or labels == {}:
        return None
    if not isinstance(labels, dict):
        listing.problems.append(
            f'{listing.path}: labels: {short_repr(labels)}; expected {{"0": "background", ...}}'
        )
        return None
    found: dict[str, tuple[int, ...]] = {}
    for key, value in labels.items():
        by_number = bool(_NUMBER.fullmatch(key)) and isinstance(value, str)
        name, numbers = (value, key) if by_number else (key, value)
        some = numbers if isinstance(numbers, list | tuple) else [numbers]
        whole = [int(one) for one in some if _NUMBER.fullmatch(str(one))]
        if str(name).lower() == "background" and whole in ([0], []):
            continue
        if str(name).lower() == "ignore":
            told = "voxels to ignore are not supported; make them background or leave out the scans"
            listing.problems.append(f"{listing.path}: labels: {told}")
        elif len(whole) != len(some) or not whole or 0 in whole:
            told = f"{short_repr(name)} is {short_repr(numbers)}; expected whole numbers above 0"
            listing.problems.append(f"{listing.path}: labels: {told}")
        else:
            found[_safe_class_name(str(name), found, listing)] = tuple(whole)
    if not found and not listing.problems:
        listing.problems.append(f"{listing.path}: labels: names only the background")
    return () if listing.problems else tuple(found.items())


def _safe_class_name(name: str, taken: Iterable[str], listing: Datalist) -> str:
    """A class name that can be a file's."""
    safe = re.sub(r"[^\w.+-]+", "_", name).strip("._")[:LONGEST_CLASS] or "unnamed"
    if safe != name:
        listing.notes.append(f"{listing.path}: the class {short_repr(name)} is called {safe} here")
    if safe in taken:
        listing.problems.append(f"{listing.path}: labels: two classes would be called {safe}")
    return safe


def _channel_names(told: Any) -> tuple[str, ...]:
    """The channels, in order of their numbers."""
    if isinstance(told, dict):
        return tuple(str(told[key]) for key in sorted(told, key=lambda key: natural_key(str(key))))
    if isinstance(told, list | tuple):
        return tuple(map(str, told))
    return (told,) if isinstance(told, str) else ()


def _numbered_channels(entries: Sequence[DatalistEntry]) -> tuple[str, ...]:
    """Names for channels that have none: as many as the first scan has files."""
    count = len(entries[0].images) if entries else 1
    return ("image",) if count == 1 else tuple(f"channel_{i}" for i in range(count))


def _datalist_entries(told: dict[str, Any], listing: Datalist) -> list[DatalistEntry]:
    """Entries of the lists `training`, `validation` and `test`."""
    folder, found = listing.path.parent, []
    for key, part in LISTS.items():
        items = told.get(key, [])
        for position, item in enumerate(items if isinstance(items, list) else [items]):
            images, label = _image_and_label(item)
            if images is None:
                listing.problems.append(
                    f"{listing.path}: {key}[{position}]: {short_repr(item)}; "
                    'expected {"image": FILE or [FILE, ...], "label": FILE}'
                )
                continue
            paths = tuple(path for one in images for path in file_names.channel_files(folder / one))
            found.append(DatalistEntry("", part, paths, folder / label if label else None))
        if isinstance(items, list) and any(isinstance(one, dict) and "fold" in one for one in items):
            listing.notes.append(f"{listing.path}: its folds are not used; volseg deals its own, by case")
    stems = file_names.unique_stems(entry.images[0] for entry in found)
    return [entry._replace(name=name) for entry, name in zip(found, stems, strict=True)]


def _image_and_label(item: Any) -> tuple[list[str] | None, str | None]:
    """The image files and the label file of one item, or None for what is no item."""
    if file_names.is_path(item):
        return [item], None
    if not isinstance(item, dict):
        return None, None
    images, label = item.get("image"), item.get("label")
    images = [images] if isinstance(images, str) else images
    label = label[0] if isinstance(label, list) and len(label) == 1 else label
    right = isinstance(images, list) and images and all(map(file_names.is_path, images))
    fits = right and (label is None or label == "" or file_names.is_path(label))
    return (images, label or None) if fits else (None, None)


def _nnunet_entries(told: dict[str, Any], listing: Datalist) -> list[DatalistEntry]:
    """Entries of `imagesTr` and `imagesTs`, or of the file's own `dataset`."""
    folder = listing.path.parent
    if isinstance(told.get("dataset"), dict):
        return [
            entry._replace(name=name)
            for name, one in told["dataset"].items()
            for entry in _datalist_entries({"training": [_as_datalist_item(one)]}, listing)
        ]
    ending = str(told.get("file_ending", ".nii.gz"))
    if ending not in file_names.ENDINGS:
        known = ", ".join(file_names.ENDINGS)
        raise UserError(f"{listing.path}: file_ending {ending!r} is no volume's; known: {known}")
    parts: tuple[tuple[str, str, Part], ...] = (
        ("imagesTr", "labelsTr", "train"), ("imagesTs", "labelsTs", "test"),
    )  # fmt: skip
    found = []
    for images, labels, part in parts:
        cases = file_names.files_by_case(folder / images, ending)
        masks = file_names.files_by_case(folder / labels, ending, channels=False)
        for name in sorted({*cases, *(masks if part == "train" else ())}, key=natural_key):
            label = folder / labels / f"{name}{ending}"
            wanted = part == "train" or name in masks
            files = cases.get(name, [folder / images / f"{name}_0000{ending}"])
            found.append(DatalistEntry(name, part, tuple(files), label if wanted else None))
    return found


def _as_datalist_item(one: Any) -> Any:
    """An item of nnU-Net's `dataset` as one of MONAI's lists."""
    if not isinstance(one, dict):
        return one
    return {"image": one.get("images"), "label": one.get("label")}
