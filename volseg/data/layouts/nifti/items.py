"""The items of a MONAI datalist: images, labels in one file or a file a class, case and day."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from volseg.data.layouts.nifti import file_names
from volseg.data.layouts.nifti.listing import Datalist, DatalistEntry
from volseg.data.layouts.raw_dataset import Part
from volseg.errors import short_repr
from volseg.schema import name_fault

ITEM = '{"image": FILE or [FILE, ...], "label": FILE or {CLASS: FILE, ...}}'
CASE_KEYS = tuple(f"{key}{end}" for key in ("case", "subject", "patient") for end in ("", "_id", "id"))


def read_item(item: Any, place: str, part: Part, listing: Datalist) -> DatalistEntry | None:
    """The scan of an item, or None for one whose fault is among the listing's problems then."""
    item = {"image": item} if file_names.is_path(item) else item
    images = _image_names(item.get("image")) if isinstance(item, dict) else []
    labels = _label_names(item.get("label"), listing) if isinstance(item, dict) else None
    if not images or labels is None:
        listing.problems.append(f"{listing.path}: {place}: {short_repr(item)}; expected {ITEM}")
        return None
    case, day = _stated_case(item, place, listing), _stated_day(item, place, listing)
    files = tuple(path for image in images for path in _image_files(image, listing))
    label = listing.near.find(labels, "labels") if isinstance(labels, str) and labels else None
    masks = labels if isinstance(labels, dict) else {}
    found = tuple((name, listing.near.find(file, "labels")) for name, file in masks.items())
    return DatalistEntry("", part, files, label, found, case, day)


def fill_mask_classes(listing: Datalist) -> None:
    """Name the classes by the files of masks where the listing does not; tell masks that are missing."""
    masked = [entry for entry in listing.entries if entry.masks]
    listing.name_mask_classes(dict.fromkeys(name for entry in masked for name, _ in entry.masks))
    classes = [name for name, _ in listing.values or ()]
    unknown = dict.fromkeys(name for entry in masked for name, _ in entry.masks if name not in classes)
    if classes and unknown:
        named = ", ".join(classes)
        listing.problems.append(
            f"{listing.path}: masks of {', '.join(unknown)}, which its labels do not name (they name {named})"
        )


def _image_names(images: Any) -> list[str]:
    images = [images] if isinstance(images, str) else images
    valid = isinstance(images, list) and all(map(file_names.is_path, images))
    return images if valid else []


def _label_names(label: Any, listing: Datalist) -> str | dict[str, str] | None:
    """The file of a map of labels ('' for none), or the file of each class; None for another form."""
    if label in (None, "", [], {}):
        return ""
    label = label[0] if isinstance(label, list) and len(label) == 1 else label
    if isinstance(label, list):
        names = [name for name, _ in listing.values or ()]
        label = dict(zip(names, label, strict=True)) if len(names) == len(label) else None
    if isinstance(label, dict):
        given = {name: file for name, file in label.items() if file not in (None, "")}
        masks = {listing.safe_class_name(name): file for name, file in given.items()}
        return masks if len(masks) == len(given) and all(map(file_names.is_path, masks.values())) else None
    return label if file_names.is_path(label) else None


def _image_files(image: str, listing: Datalist) -> Iterable[Path]:
    numbered = file_names.channel_files(listing.near.folder / image)
    if numbered:
        listing.near.add("images", "with _0000", image, numbered[0])
        return numbered
    return [listing.near.find(image, "images")]


def _stated_case(item: dict[str, Any], place: str, listing: Datalist) -> str:
    """The case that an item states, or ''."""
    stated = {key.lower(): (key, value) for key, value in item.items() if value not in (None, "")}
    key, value = next((stated[key] for key in CASE_KEYS if key in stated), ("", ""))
    case = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None
    fault = "" if case == "" else "it is no text" if case is None else name_fault(case)
    if fault:
        shown = f"{key} {short_repr(value)} can't be a case: {fault}"
        listing.problems.append(f"{listing.path}: {place}: {shown}")
    return "" if fault or case is None else case


def _stated_day(item: dict[str, Any], place: str, listing: Datalist) -> int | None:
    """The day that an item states, or None."""
    day = item.get("day")
    if day in (None, ""):
        return None
    text = str(day)
    if not isinstance(day, bool) and text.isascii() and text.isdigit() and len(text) < 10:
        return int(text)
    listing.problems.append(f"{listing.path}: {place}: day {short_repr(day)}; expected a whole number")
    return None
