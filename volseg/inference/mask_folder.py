"""A folder of masks for a prepared dataset: volseg's predictions, or masks of any other tool.

Other tools keep a map of labels a scan, `<scan>.nii.gz` (nnU-Net), or a file a class, `<scan>/<class>.nii.gz`
or `<scan>/segmentations/<class>.nii.gz` (TotalSegmentator, ITK-SNAP).
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from volseg.data.dataset import Dataset
from volseg.data.label_names import read_label_names
from volseg.data.layouts.nifti.datalist import read_class_values
from volseg.data.mask_files import MaskFile
from volseg.data.volume_files import split_ending
from volseg.errors import UserError, closest_name, did_you_mean
from volseg.formatting import join_names, natural_key
from volseg.inference.corrections import correction_notes, other_image_problem
from volseg.inference.prediction_folder import (
    RECORD,
    RECORDS,
    RLE,
    Prediction,
    inner_folder_hint,
    load_predictions,
    origin_notes,
    reduction_notes,
)

FILE_A_CLASS = "segmentations"  # TotalSegmentator's folder within that of a scan
UNKNOWN = "unknown"
EXPECTED = "expected <scan>/<class>.nii.gz or, with all classes in one map of labels, <scan>.nii.gz"
Volumes = dict[str, list[Path]]
"""Files of volumes by their names without endings; several where only the endings differ."""


class MaskFolder(NamedTuple):
    """The scans with masks in a folder, and notes on how they were taken."""

    predictions: tuple[Prediction, ...]
    notes: tuple[str, ...] = ()

    def with_notes(self, *notes: str) -> "MaskFolder":
        """The same scans with more notes."""
        return self._replace(notes=(*self.notes, *notes))


class _Found(NamedTuple):
    """The volumes of a folder: those in it, and those in each of its folders."""

    maps: Volumes
    folders: dict[str, Volumes]


class _Meaning(NamedTuple):
    """The values of each class in maps of labels; `known` are all that they may hold, none if any."""

    values: Mapping[str, tuple[int, ...]]
    known: tuple[int, ...]
    notes: tuple[str, ...]


def load_masks(folder: Path, dataset: Dataset | None) -> MaskFolder:
    """All scans with masks in natural order; of volseg's predictions failed ones too.

    Without a dataset only volseg's own can be told.

    Raises:
        UserError: no masks of the dataset's scans, of other images than theirs, or masks that are missing or
            misnamed; all problems.
    """
    if not folder.is_dir() or _has_records(folder):
        return _take_predictions(folder, dataset)
    found = _find_volumes(folder)
    if dataset is None and (found.maps or found.folders):
        raise UserError(f"{folder}: masks without {RECORD}; name the dataset of their scans by --data")
    if dataset is None or not (found.maps or found.folders):
        raise UserError(f"{folder}: no masks in it; {inner_folder_hint(folder) or EXPECTED}")
    return _take_masks(folder, found, dataset)


def _take_predictions(folder: Path, dataset: Dataset | None) -> MaskFolder:
    """Predictions by volseg itself, with notes on those that were corrected by hand or made in less time."""
    predictions = load_predictions(folder)
    problems = [line for one in predictions if dataset and (line := other_image_problem(one, dataset))]
    if problems:
        raise UserError.from_problems(problems)
    beside = [path.name for paths in _volumes(folder).values() for path in paths]
    notes = (*origin_notes(predictions), *correction_notes(predictions), *reduction_notes(predictions))
    if beside:
        advice = "keep masks of other tools in a folder of their own"
        notes += (f"{folder}: {join_names(beside)}: not read beside predictions by volseg; {advice}",)
    return MaskFolder(tuple(one.as_it_is_now for one in predictions), notes)


def _take_masks(folder: Path, found: _Found, dataset: Dataset) -> MaskFolder:
    """The masks of another tool, which volseg knows nothing else of."""
    names = _known_scans(folder, found, dataset)
    maps = {name: paths for name, paths in found.maps.items() if name in names}
    folders = {name: files for name, files in found.folders.items() if name in names}
    for name in [name for name in folders if _map_name(name, folders[name], dataset)]:
        files = folders.pop(name)
        maps[name] = [*maps.get(name, []), *files[_map_name(name, files, dataset)]]
    problems = [*_double_files(maps, folders, dataset), *_missing_classes(folder, folders, dataset)]
    if problems:
        raise UserError.from_problems(problems)
    masks = {name: _self_named_classes(paths[0], dataset) for name, paths in maps.items()}
    nameless = [name for name, files in masks.items() if not files]
    meaning = _map_meaning(folder, dataset) if nameless else _Meaning({}, (), ())
    masks |= {name: _classes_of_map(maps[name][0], meaning) for name in nameless}
    masks |= {name: _classes_of_files(files, dataset) for name, files in folders.items()}
    notes = (
        f"{folder}: no {RECORD}: what made these masks, and whether it was trained on the scans, is unknown",
        *_unmatched_notes(folder, found, names, dataset),
        *meaning.notes,
        *_foreign_class_notes(folder, folders, dataset),
    )
    scans = sorted(masks, key=natural_key)
    return MaskFolder(tuple(_prediction(folder, scan, masks[scan], dataset) for scan in scans), notes)


def holds_masks(folder: Path) -> bool:
    """Whether a folder holds masks of scans, by volseg or another tool, finished or not."""
    return folder.is_dir() and (_has_records(folder) or any(_find_volumes(folder)))


def _has_records(folder: Path) -> bool:
    """Whether `volseg infer` wrote masks here, so that each scan must have its record."""
    records = (folder / RECORD, folder / RECORDS, *folder.glob(f"*/{RECORD}"), *folder.glob(f"*/{RLE}"))
    return any(path.is_file() for path in records)


def _find_volumes(folder: Path) -> _Found:
    inner = (path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    folders = {path.name: _volumes(path / FILE_A_CLASS) or _volumes(path) for path in inner}
    return _Found(_volumes(folder), {name: files for name, files in folders.items() if files})


def _volumes(folder: Path) -> Volumes:
    volumes: Volumes = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        stem, ending = split_ending(path.name)
        if ending and path.is_file() and not path.name.startswith("."):
            volumes.setdefault(stem, []).append(path)
    return volumes


def _known_scans(folder: Path, found: _Found, dataset: Dataset) -> list[str]:
    """The names in a folder that are those of scans; refused where none is."""
    names, own = [*found.maps, *found.folders], {sample.name for sample in dataset.samples}
    known = [name for name in names if name in own]
    if known:
        return known
    if not set(found.maps).isdisjoint(dataset.classes):
        advice = f"name the folder that it lies in: {folder.absolute().parent}"
        raise UserError(f"{folder}: has files of classes, not of scans: is it one scan? {advice}")
    if not set(found.folders).isdisjoint(dataset.classes):
        raise UserError(f"{folder}: has folders of classes, not of scans; {EXPECTED}")
    scans = [sample.name for sample in dataset.samples]
    near = next((hint for name in names if (hint := _near_hint(name, scans))), "")
    raise UserError(
        f"{folder}: {join_names(names)}: no scan of {dataset.folder}, which has {join_names(scans)}{near}; "
        f"{EXPECTED}"
    )


def _unmatched_notes(folder: Path, found: _Found, known: Sequence[str], dataset: Dataset) -> Iterator[str]:
    """A line on what has no scan in the dataset."""
    open_names = [sample.name for sample in dataset.samples if sample.name not in known]
    others = [
        f"{name}{_near_hint(name, open_names)}" for name in (*found.maps, *found.folders) if name not in known
    ]
    if others:
        yield f"{folder}: left out, as {dataset.folder} has no such scan: {join_names(others)}"


def _map_name(scan: str, files: Volumes, dataset: Dataset) -> str:
    """The name of the map of labels in a scan's own folder: the scan's, or `segmentation`; '' for none."""
    names = (scan, "segmentation", FILE_A_CLASS)
    return next((name for name in names if name in files and name not in dataset.classes), "")


def _double_files(maps: Volumes, folders: Mapping[str, Volumes], dataset: Dataset) -> Iterator[str]:
    """A line for each scan and class that several files are of."""
    of_classes = ([files.get(name, []) for name in dataset.classes] for files in folders.values())
    for paths in (*maps.values(), *(paths for scan in of_classes for paths in scan)):
        if len(paths) > 1:
            yield f"{' and '.join(map(str, paths))}: masks of one scan and class; keep one of them"
    for scan in sorted(maps.keys() & folders.keys(), key=natural_key):
        yield f"{maps[scan][0]}: there is a folder of that name too; keep one of them"


def _map_meaning(folder: Path, dataset: Dataset) -> _Meaning:
    """What the values of maps mean: by a dataset.json in the folder or one of two above, else by order.

    Raises:
        UserError: a dataset.json that is damaged or lacks classes of the dataset.
    """
    place = folder.absolute()
    for file in (above / "dataset.json" for above in (place, *place.parents[:2])):
        named = dict(read_class_values(file)) if file.is_file() else {}
        if not named:
            continue
        problems = [
            f'{file}: its "labels" lack {name}{_near_hint(name, [*named])}; they are {join_names([*named])}'
            for name in dataset.classes
            if name not in named
        ]
        if problems:
            raise UserError.from_problems(problems)
        notes = [f"{folder}: the values in its maps of labels are named by {file}"] * (file.parent != place)
        if others := [name for name in named if name not in dataset.classes]:
            notes.append(f"{file}: classes that {dataset.folder} lacks are left out: {join_names(others)}")
        return _Meaning(named, (), tuple(notes))
    if len(dataset.classes) == 1:
        return _Meaning({dataset.classes[0]: ()}, (), ())
    values = {name: (number,) for number, name in enumerate(dataset.classes, start=1)}
    told = ", ".join(f"{number} {name}" for number, name in enumerate(dataset.classes, start=1))
    note = f"{folder}: no dataset.json names the values in its maps: taken as {told}, the dataset's order"
    return _Meaning(values, tuple(range(1, len(values) + 1)), (note,))


def _self_named_classes(path: Path, dataset: Dataset) -> dict[str, MaskFile]:
    """The classes by the names in a map's own header; none where it has no names."""
    named = read_label_names(path)
    lacking = [name for name in dataset.classes if name not in named]
    if named and lacking:
        near = _near_hint(lacking[0], [*named])
        raise UserError(f"{path}: its header names no {lacking[0]}{near}; it names {join_names([*named])}")
    return {name: MaskFile(path, named[name]) for name in dataset.classes if named}


def _classes_of_map(path: Path, meaning: _Meaning) -> dict[str, MaskFile]:
    return {name: MaskFile(path, values, meaning.known) for name, values in meaning.values.items()}


def _classes_of_files(files: Volumes, dataset: Dataset) -> dict[str, MaskFile]:
    return {name: MaskFile(files[name][0]) for name in dataset.classes}


def _missing_classes(folder: Path, folders: Mapping[str, Volumes], dataset: Dataset) -> Iterator[str]:
    """A line for each class that no scan has, and for each scan that lacks one of the others."""
    there = dict.fromkeys(name for files in folders.values() for name in files)
    for name in dataset.classes if folders else ():
        if name not in there:
            near = _near_hint(name, [other for other in there if other not in dataset.classes])
            yield f"{folder}: no scan has the class {name}{near}; its files are {join_names([*there])}"
            continue
        for scan, files in folders.items():
            if name not in files:
                advice = "an organ that is not there is a mask of zeros"
                yield f"{folder / scan}: no file of {name}, which other scans have; {advice}"


def _foreign_class_notes(folder: Path, folders: Mapping[str, Volumes], dataset: Dataset) -> Iterator[str]:
    there = dict.fromkeys(name for files in folders.values() for name in files)
    others = [name for name in there if name not in dataset.classes]
    if others:
        yield f"{folder}: classes that {dataset.folder} lacks are left out: {join_names(others)}"


def _prediction(folder: Path, scan: str, masks: Mapping[str, MaskFile], dataset: Dataset) -> Prediction:
    """The masks of a scan, of which nothing else is known."""
    first = masks[dataset.classes[0]].path
    return Prediction(
        scan=scan,
        status="done",
        classes=dataset.classes,
        seen="unknown",
        version=UNKNOWN,
        folder=first if first.parent == folder else folder / scan,
        masks={name: masks[name] for name in dataset.classes},
    )


def _near_hint(name: str, known: Sequence[str]) -> str:
    """The known name that differs in case, blanks and signs only, or else the closest one."""
    plain = {_letters(other): other for other in known}
    return did_you_mean(plain.get(_letters(name)) or closest_name(name, known))


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name)).lower()
