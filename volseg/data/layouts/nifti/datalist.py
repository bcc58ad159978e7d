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
from volseg.schema import name_fault

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
    """The content of a listing. `values` is None where it names no labels; `problems` are its faults."""

    path: Path
    channels: tuple[str, ...] = ()
    values: ClassValues | None = None
    entries: list[DatalistEntry] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read(root: Path) -> Datalist:
    """The listing in a folder, or of this path.

    Raises:
        UserError: no such folder or file, or no JSON of a known form.
    """
    path = _find_file(root)
    try:
        content = json.loads(path.read_bytes(), object_pairs_hook=_unique_keys)
        json.dumps(content, ensure_ascii=False).encode()  # halves of characters can't be written again
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a JSON file ({error}); {EXPECTED}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a listing of volumes; {EXPECTED}")
    listing = Datalist(path)
    listing.values = _class_values(content.get("labels"), listing)
    listing.channels = _channel_names(content.get("channel_names", content.get("modality")))
    if any(key in content for key in LISTS):
        listing.entries = _datalist_entries(content, listing)
    elif (path.parent / "imagesTr").is_dir() or isinstance(content.get("dataset"), dict):
        listing.entries = _nnunet_entries(content, listing)
    if not listing.entries and not listing.problems:
        raise UserError(f"{path}: names no scans; {EXPECTED}")
    listing.channels = listing.channels or _numbered_channels(listing.entries)
    faults = file_names.name_faults(path, (entry.name for entry in listing.entries))
    listing.problems += first_few(list(faults), "names")
    return listing


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, refused if two keys are equal, of which Python would take the last."""
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
    hint = f"; name one of {', '.join(first_few([file.name for file in others], 'files'))}" if others else ""
    raise UserError(f"{root}: no {FILE}{hint}; {EXPECTED}")


def _class_values(labels: Any, listing: Datalist) -> ClassValues | None:
    """The classes and their label values, by number or by name in the file."""
    if labels is None or labels == {}:
        return None
    place = f"{listing.path}: labels"
    if not isinstance(labels, dict):
        listing.problems.append(f'{place}: {short_repr(labels)}; expected {{"0": "background", ...}}')
        return None
    classes: dict[str, tuple[int, ...]] = {}
    for key, value in labels.items():
        by_number = bool(_NUMBER.fullmatch(key)) and isinstance(value, str)
        name, numbers = (value, key) if by_number else (key, value)
        numbers_list = numbers if isinstance(numbers, list | tuple) else [numbers]
        values = [int(number) for number in numbers_list if _NUMBER.fullmatch(str(number))]
        if str(name).lower() == "background" and values in ([0], []):
            continue
        if str(name).lower() == "ignore":
            advice = "make them background or leave out the scans"
            listing.problems.append(f"{place}: voxels to ignore are not supported; {advice}")
        elif len(values) != len(numbers_list) or not values or 0 in values:
            fault = f"{short_repr(name)} is {short_repr(numbers)}"
            listing.problems.append(f"{place}: {fault}; expected whole numbers above 0")
        else:
            classes[_safe_class_name(str(name), classes, listing)] = tuple(values)
    if not classes and not listing.problems:
        listing.problems.append(f"{place}: names only the background")
    return () if listing.problems else tuple(classes.items())


def _safe_class_name(name: str, taken: Iterable[str], listing: Datalist) -> str:
    """A class name that can be a file's."""
    safe = re.sub(r"[^\w.+-]+", "_", name).strip("._-")[:LONGEST_CLASS] or "unnamed"
    safe = f"{safe}_" if name_fault(safe) else safe  # a device of Windows
    if safe != name:
        listing.notes.append(f"{listing.path}: the class {short_repr(name)} is called {safe} here")
    if safe in taken:
        listing.problems.append(f"{listing.path}: labels: two classes would be called {safe}")
    return safe


def _channel_names(value: Any) -> tuple[str, ...]:
    """The channels, in order of their numbers."""
    if isinstance(value, dict):
        return tuple(str(value[key]) for key in sorted(value, key=lambda key: natural_key(str(key))))
    if isinstance(value, list | tuple):
        return tuple(map(str, value))
    return (value,) if isinstance(value, str) else ()


def _numbered_channels(entries: Sequence[DatalistEntry]) -> tuple[str, ...]:
    """Names for nameless channels, as many as the first scan has files."""
    count = len(entries[0].images) if entries else 1
    return ("image",) if count == 1 else tuple(f"channel_{i}" for i in range(count))


def _datalist_entries(content: dict[str, Any], listing: Datalist) -> list[DatalistEntry]:
    """Entries of the lists `training`, `validation` and `test`."""
    folder, entries = listing.path.parent, []
    for key, part in LISTS.items():
        items = content.get(key, [])
        for position, item in enumerate(items if isinstance(items, list) else [items]):
            images, label = _image_and_label(item)
            if images is None:
                listing.problems.append(
                    f"{listing.path}: {key}[{position}]: {short_repr(item)}; "
                    'expected {"image": FILE or [FILE, ...], "label": FILE}'
                )
                continue
            paths = tuple(path for image in images for path in file_names.channel_files(folder / image))
            entries.append(DatalistEntry("", part, paths, folder / label if label else None))
        if isinstance(items, list) and any(isinstance(item, dict) and "fold" in item for item in items):
            listing.notes.append(f"{listing.path}: its folds are not used; volseg deals its own, by case")
    stems = file_names.unique_stems(entry.images[0] for entry in entries)
    return [entry._replace(name=name) for entry, name in zip(entries, stems, strict=True)]


def _image_and_label(item: Any) -> tuple[list[str] | None, str | None]:
    """The image files and the label file of an item, or None for an item of another form."""
    if file_names.is_path(item):
        return [item], None
    if not isinstance(item, dict):
        return None, None
    images, label = item.get("image"), item.get("label")
    images = [images] if isinstance(images, str) else images
    label = label[0] if isinstance(label, list) and len(label) == 1 else label
    valid_images = isinstance(images, list) and images and all(map(file_names.is_path, images))
    valid = valid_images and (label is None or label == "" or file_names.is_path(label))
    return (images, label or None) if valid else (None, None)


def _nnunet_entries(content: dict[str, Any], listing: Datalist) -> list[DatalistEntry]:
    """Entries of `imagesTr` and `imagesTs`, or of the file's own `dataset`."""
    folder = listing.path.parent
    if isinstance(content.get("dataset"), dict):
        return [
            entry._replace(name=name)
            for name, item in content["dataset"].items()
            for entry in _datalist_entries({"training": [_as_datalist_item(item)]}, listing)
        ]
    ending = str(content.get("file_ending", ".nii.gz"))
    if ending not in file_names.ENDINGS:
        known = ", ".join(file_names.ENDINGS)
        raise UserError(f"{listing.path}: file_ending {ending!r} is no volume's; known: {known}")
    parts: tuple[tuple[str, str, Part], ...] = (
        ("imagesTr", "labelsTr", "train"), ("imagesTs", "labelsTs", "test"),
    )  # fmt: skip
    entries = []
    for images, labels, part in parts:
        cases = file_names.files_by_case(folder / images, ending)
        masks = file_names.files_by_case(folder / labels, ending, channels=False)
        for name in sorted({*cases, *(masks if part == "train" else ())}, key=natural_key):
            label = folder / labels / f"{name}{ending}"
            wanted = part == "train" or name in masks
            files = cases.get(name, [folder / images / f"{name}_0000{ending}"])
            entries.append(DatalistEntry(name, part, tuple(files), label if wanted else None))
    return entries


def _as_datalist_item(item: Any) -> Any:
    """An item of nnU-Net's `dataset` as one of MONAI's lists."""
    return {"image": item.get("images"), "label": item.get("label")} if isinstance(item, dict) else item
