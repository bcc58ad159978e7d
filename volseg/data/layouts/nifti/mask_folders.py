"""Folders of scans with a file a class, as in TotalSegmentator's dataset: no listing names them."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from volseg.data.layouts.nifti.file_names import split_ending
from volseg.data.layouts.nifti.listing import Datalist, DatalistEntry
from volseg.data.layouts.nifti.near_names import NearNames
from volseg.data.volume_files import ENDINGS
from volseg.formatting import first_few, natural_key

FOLDER = "segmentations"
EXAMPLE = f"s0000/ct.nii.gz and s0000/{FOLDER}/liver.nii.gz"


def find_scan_folders(root: Path) -> list[Path]:
    """The folders with a folder of masks, in natural order."""
    folders = (path.parent for path in root.glob(f"[!.]*/{FOLDER}") if path.is_dir())
    return sorted(folders, key=lambda path: natural_key(path.name))


def read_folders(root: Path, folders: Sequence[Path]) -> Datalist:
    """A listing of scan folders; its classes are those whose files every scan has."""
    listing = Datalist(root, near=NearNames(root))
    masks = {
        folder: {
            listing.safe_class_name(name): path for name, path in _volumes_by_stem(folder / FOLDER).items()
        }
        for folder in folders
    }
    counts = Counter(name for files in masks.values() for name in files)
    classes = sorted((name for name, count in counts.items() if count == len(folders)), key=natural_key)
    missing = sorted({*counts} - {*classes}, key=natural_key)
    others = [f"{name} (in {counts[name]} of {len(folders)})" for name in missing]
    if others:
        listing.add_note(f"{root}: left out, not in all scans: {', '.join(first_few(others, 'classes'))}")
    bare = [path.name for path in sorted(root.glob("[!.]*")) if path.is_dir() and path not in masks]
    if bare:
        listed = ", ".join(first_few(bare, "folders"))
        listing.add_note(f"{root}: left out, no {FOLDER} in them: {listed}")
    if not classes:
        listing.problems.append(f"{root}: no class has a mask in every scan; expected {EXAMPLE}")
    listing.name_mask_classes(classes)
    for folder in folders:
        images = [*_volumes_by_stem(folder).values()]
        if len(images) != 1:
            found = ", ".join(path.name for path in images) or "none"
            listing.problems.append(f"{folder}: expected one image, found {found}")
        files = tuple((name, masks[folder][name]) for name in classes)
        listing.entries.append(DatalistEntry(folder.name, "train", tuple(images[:1]), masks=files))
    kinds = dict.fromkeys(split_ending(path.name)[0] for entry in listing.entries for path in entry.images)
    listing.channels = tuple(kinds) if len(kinds) == 1 else ("image",)
    if len(kinds) > 1:
        listing.add_note(f"{root}: images of different names are one channel: {', '.join(kinds)}")
    return listing


def _named_masks(folder: Path, listing: Datalist) -> dict[str, Path]:
    """The masks of a scan by the names of their classes."""
    files = _volumes_by_stem(folder / FOLDER)
    return {listing.safe_class_name(name): path for name, path in files.items()}


def _volumes_by_stem(folder: Path) -> dict[str, Path]:
    paths = sorted(path for path in folder.glob("[!.]*") if path.name.lower().endswith(ENDINGS))
    return {split_ending(path.name)[0]: path for path in paths}
