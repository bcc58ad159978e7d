"""The JSON file that describes a dataset of volumes: Decathlon's, nnU-Net's, or a MONAI datalist."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from volseg.data.layouts.nifti import file_names, mask_folders
from volseg.data.layouts.nifti.items import fill_mask_classes, read_item
from volseg.data.layouts.nifti.label_files import ClassValues
from volseg.data.layouts.nifti.listing import Datalist, DatalistEntry
from volseg.data.layouts.nifti.near_names import NearNames
from volseg.data.layouts.nifti.nnunet_folders import nnunet_entries
from volseg.data.layouts.raw_dataset import Part
from volseg.data.volume_files import ENDINGS, folder_content
from volseg.errors import UserError, short_repr
from volseg.formatting import first_few, natural_key
from volseg.system.json_files import unique_keys

FILE = "dataset.json"
LISTS: dict[str, Part] = {"training": "train", "validation": "train", "test": "test", "testing": "test"}
EXPECTED = (
    f"expected {FILE} of Decathlon or nnU-Net, or a MONAI datalist: "
    '{"labels": {"0": "background", "1": "organ"}, '
    '"training": [{"image": "a.nii.gz", "label": "b.nii.gz"}]}; or folders such as '
    f"{mask_folders.EXAMPLE}"
)
_NUMBER = re.compile(r"[0-9]{1,9}")


def read(root: Path) -> Datalist:
    """The listing in a folder, or of this path.

    Raises:
        UserError: no such folder or file, or no JSON of a known form.
    """
    folders = [] if any(root.glob("*.json")) else mask_folders.find_scan_folders(root)
    if folders:
        return _with_name_faults(mask_folders.read_folders(root, folders))
    path = _find_file(root)
    content = _read_object(path)
    listing = Datalist(path, near=NearNames(path.parent))
    listing.values = _class_values(content.get("labels"), listing)
    listing.channels = _channel_names(content.get("channel_names", content.get("modality")))
    if any(key in content for key in LISTS):
        listing.entries = _datalist_entries(content, listing)
    elif (path.parent / "imagesTr").is_dir() or isinstance(content.get("dataset"), dict):
        listing.entries = _nnunet_entries(content, listing)
    fill_mask_classes(listing)
    if not listing.entries and not listing.problems:
        raise UserError(f"{path}: names no scans; {EXPECTED}")
    listing.channels = listing.channels or _numbered_channels(listing.entries)
    return _with_name_faults(listing)


def _with_name_faults(listing: Datalist) -> Datalist:
    faults = file_names.name_faults(listing.path, (entry.name for entry in listing.entries))
    listing.problems = [*first_few(listing.problems, "faults"), *first_few(list(faults), "names")]
    return listing


def read_class_values(path: Path) -> ClassValues:
    """The classes that a dataset.json names with their values in maps of labels; none where it names none.

    Raises:
        UserError: damaged, or labels of another form.
    """
    labels = _read_object(path).get("labels")
    if isinstance(labels, dict):  # what is ignored in training is in no prediction
        labels = {key: value for key, value in labels.items() if key != "ignore"}
    listing = Datalist(path)
    values = _class_values(labels, listing)
    if listing.problems:
        raise UserError.from_problems(listing.problems)
    return values or ()


def _read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file."""
    try:
        content = json.loads(path.read_bytes(), object_pairs_hook=unique_keys)
        json.dumps(content, ensure_ascii=False).encode()  # halves of characters can't be written again
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a JSON file ({error}); {EXPECTED}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a listing of volumes; {EXPECTED}")
    return content


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
    content = folder_content(root) if not hint else ""
    raise UserError(f"{root}: {f'a folder{content}, ' if content else ''}no {FILE}{hint}; {EXPECTED}")


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
        values = _label_numbers(str(name), numbers, place, listing)
        safe = listing.safe_class_name(str(name)) if values else ""
        if safe in classes:
            listing.problems.append(f"{place}: two classes would be called {safe}")
        if values:
            classes[safe] = values
    if not classes and not listing.problems:
        listing.problems.append(f"{place}: names only the background")
    return () if listing.problems else tuple(classes.items())


def _label_numbers(name: str, numbers: Any, place: str, listing: Datalist) -> tuple[int, ...]:
    """The label values of a class; none of the background, and of one whose fault is told."""
    several = numbers if isinstance(numbers, list | tuple) else [numbers]
    values = tuple(int(number) for number in several if _NUMBER.fullmatch(str(number)))
    if name.lower() == "background" and values in ((0,), ()):
        return ()
    if name.lower() == "ignore":
        advice = "make them background or leave out the scans"
        listing.problems.append(f"{place}: voxels to ignore are not supported; {advice}")
    elif len(values) != len(several) or not values or 0 in values:
        fault = f"{short_repr(name)} is {short_repr(numbers)}"
        listing.problems.append(f"{place}: {fault}; expected whole numbers above 0")
    else:
        return values
    return ()


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
    entries = []
    for key, part in LISTS.items():
        items = content.get(key, [])
        for position, item in enumerate(items if isinstance(items, list) else [items]):
            entry = read_item(item, f"{key}[{position}]", part, listing)
            entries += [entry] if entry else []
        if isinstance(items, list) and any(isinstance(item, dict) and "fold" in item for item in items):
            listing.notes.append(f"{listing.path}: its folds are not used; volseg deals its own, by case")
    stems = file_names.unique_stems([entry.images[0] for entry in entries])
    return [entry._replace(name=name) for entry, name in zip(entries, stems, strict=True)]


def _nnunet_entries(content: dict[str, Any], listing: Datalist) -> list[DatalistEntry]:
    """Entries of `imagesTr` and `imagesTs`, or of the file's own `dataset`."""
    if isinstance(content.get("dataset"), dict):
        return [
            entry._replace(name=name)
            for name, item in content["dataset"].items()
            for entry in _datalist_entries({"training": [_as_datalist_item(item)]}, listing)
        ]
    ending = str(content.get("file_ending", ".nii.gz"))
    if ending.lower() not in ENDINGS:
        known = ", ".join(ENDINGS)
        raise UserError(f"{listing.path}: file_ending {ending!r} is no volume's; known: {known}")
    return [
        *nnunet_entries(listing, "imagesTr", "labelsTr", "train", ending),
        *nnunet_entries(listing, "imagesTs", "labelsTs", "test", ending),
    ]


def _as_datalist_item(item: Any) -> Any:
    """An item of nnU-Net's `dataset` as one of MONAI's lists."""
    return {**item, "image": item.get("images")} if isinstance(item, dict) else item
