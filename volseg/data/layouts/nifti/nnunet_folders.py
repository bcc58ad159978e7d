"""nnU-Net's folders of images and labels, paired by the names of their files."""

from collections.abc import Collection
from pathlib import Path

from volseg.data.layouts.nifti import file_names
from volseg.data.layouts.nifti.listing import Datalist, DatalistEntry
from volseg.data.layouts.raw_dataset import Part
from volseg.formatting import natural_key


def nnunet_entries(
    listing: Datalist, images: str, labels: str, part: Part, ending: str
) -> list[DatalistEntry]:
    """The scans of a folder of images; those for training have labels, others may."""
    root = listing.near.folder
    image_ending, label_ending = (_folder_ending(listing, name, ending) for name in (images, labels))
    stems = file_names.label_stems(root / labels, label_ending)
    cases = file_names.files_by_case(root / images, image_ending, whole=stems, channels=len(listing.channels))
    _count_unnumbered(listing, images, cases, image_ending)
    masks = _labels_by_case(listing, labels, stems, cases)
    entries = []
    for name in sorted({*cases, *(masks if part == "train" else ())}, key=natural_key):
        label = root / labels / f"{masks.get(name, name)}{label_ending}"
        files = cases.get(name, [root / images / f"{name}_0000{image_ending}"])
        wanted = part == "train" or name in masks
        entries.append(DatalistEntry(name, part, tuple(files), label if wanted else None))
    return entries


def _folder_ending(listing: Datalist, folder: str, ending: str) -> str:
    """The ending of a folder's files, of which the listing's near names are told."""
    found = file_names.folder_ending(listing.near.folder / folder, ending)
    if found != ending:
        for stem in file_names.label_stems(listing.near.folder / folder, found):
            path = listing.near.folder / folder / f"{stem}{found}"
            listing.near.add(folder, f"as {found}, not {ending}", f"{stem}{ending}", path)
    return found


def _count_unnumbered(listing: Datalist, folder: str, cases: dict[str, list[Path]], ending: str) -> None:
    """Tell images whose last number is no channel's."""
    for case, paths in cases.items():
        if file_names.CHANNEL.fullmatch(case) and paths[0].name == f"{case}{ending}":
            listing.near.add(folder, "without _0000", f"{case}_0000{ending}", paths[0])


def _labels_by_case(
    listing: Datalist, folder: str, stems: Collection[str], cases: Collection[str]
) -> dict[str, str]:
    """For each case the name of its label, which is the case's own, or nearly that of one without a label."""
    masks = {stem: stem for stem in stems if stem in cases}
    bare = {case.lower(): case for case in cases if case not in masks}
    for stem in stems:
        near = bare.get(stem.removesuffix("_0000").lower()) or bare.get(stem.lower())
        if stem in cases or near is None or near in masks:
            masks.setdefault(stem, stem)
            continue
        masks[near] = stem
        how = "with _0000" if stem.lower() != near.lower() else "with other capitals"
        listing.near.add(folder, how, near, listing.near.folder / folder / stem)
    return masks
