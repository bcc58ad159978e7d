"""`train.teacher`: which scans its maps are of, and whether they may teach (Hinton et al. 2015).

Maps of a training scan must be out of fold: a network that has learned it by heart only repeats its labels.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from volseg.config.config import Config
from volseg.data.dataset import Dataset, Sample
from volseg.data.mask_files import read_grid
from volseg.data.splits import Split
from volseg.data.volume import turned_like
from volseg.errors import UserError
from volseg.formatting import format_count, join_names
from volseg.inference.prediction_folder import read_record
from volseg.inference.prediction_record import PredictionRecord
from volseg.runs.run import Run
from volseg.runs.run_files import RunSplits
from volseg.runs.trained_on import Seen
from volseg.system.files import read_content_checksum
from volseg.training.loading.teacher_maps import TeacherMaps, other_grid_text

WRITE = "`volseg infer --save-probabilities --out {folder}` writes maps"
OUT_OF_FOLD = (
    "predict each by the fold that never saw its case: `volseg infer --run RUN/fold0 --split unseen_cases "
    "--save-probabilities --out {folder}`, and so for each fold"
)
LEARNED: dict[Seen, str] = {
    "scan": "made by networks that were trained on the scan itself",
    "case": "made by networks that were trained on another day of the case",
    "unknown": "made by networks of which nobody knows what they were trained on",
}
"""What keeps the maps of a training scan from teaching."""


class Teacher(NamedTuple):
    """The maps, and the scans without labels that learn from them alone."""

    maps: TeacherMaps
    taught: tuple[str, ...] = ()

    def checksum(self, scan: str) -> str:
        """The checksums of a scan's maps; "" without maps."""
        return " ".join(map(read_content_checksum, self.maps.files(scan)))


def open_teacher(folder: Path, dataset: Dataset, parts: Split, hold_out: Sequence[str]) -> Teacher:
    """The teacher in a folder, for the training scans of `parts` and scans without labels.

    Those of cases that are kept for validation or held out are left out.

    Raises:
        UserError: no folder, no maps of these scans, or maps that may not teach: all of them, by name.
    """
    if not folder.is_dir():
        raise UserError(f"train.teacher: {folder}: no such folder; {WRITE.format(folder=folder)}")
    joining, _ = _unlabelled(dataset, parts, hold_out)
    training = [sample for sample in dataset.samples if sample.name in parts.train]
    records = {one.name: record for one in (*training, *joining) if (record := _record(folder, one, dataset))}
    known = [sample for sample in (*training, *joining) if sample.name in records]
    problems = [
        *(line for one in (*training, *joining) for line in _unknown_maker(folder, one, dataset)),
        *_learned_problems(folder, [records[one.name] for one in training if one.name in records]),
        *(line for one in known for line in _map_problems(folder, one, records[one.name], dataset)),
    ]
    if problems:
        raise UserError.from_problems(problems)
    if not records:
        raise UserError(
            f"train.teacher: {folder}: has no map of any training scan, nor of scans without labels; "
            f"{WRITE.format(folder=folder)}"
        )
    maps = TeacherMaps(folder, dataset.classes, frozenset(records))
    return Teacher(maps, tuple(sample.name for sample in joining if sample.name in records))


def maps_of(config: Config, facts: RunSplits) -> TeacherMaps | None:
    """The maps that a run with this config and these scans learns from; None without a teacher."""
    folder = config.train.active_teacher
    if folder is None:
        return None
    scans = frozenset(name for name, files in facts.files.items() if files.teacher)
    return TeacherMaps(folder, facts.classes, scans)


def describe_teacher(run: Run, dataset: Dataset) -> Iterator[str]:
    """What teaches a run, and notes on what does not; nothing without a teacher."""
    maps, facts, settings = maps_of(run.config, run.facts), run.facts, run.config.train
    if maps is None:
        return
    lacking = [name for name in facts.train if name not in maps.scans]
    scans = format_count(len(facts.train) - len(lacking), "labelled scan")
    alone = f", and {format_count(len(facts.taught), 'scan')} by it alone: {join_names(facts.taught)}"
    told = f"taught by {maps.folder} with the weight {settings.teacher_weight:g}: {scans}"
    yield told + (alone if facts.taught else "")
    if lacking:
        yield f"note: {maps.folder} has no maps of {join_names(lacking)}: they learn from labels alone"
    parts = Split(facts.train, facts.unseen_cases, facts.later_days, facts.hold_out)
    _, kept = _unlabelled(dataset, parts, run.config.data.hold_out)
    if left_out := [one.name for one in kept if read_record(maps.folder / one.name)]:
        yield f"note: {join_names(left_out)}: not learned from, as their cases are kept apart"
    records = [record for name in sorted(maps.scans) if (record := read_record(maps.folder / name))]
    if unknown := dict.fromkeys(name for record in records for name in record.unknown_weights):
        yield f"note: unknown which scans the teacher's first weights saw: {', '.join(unknown)}"
    if facts.validation_scans:
        yield (
            "note: if the teacher's networks were trained on scans that validate this run, its scores there "
            "are too good; judge it on cases that data.hold_out kept from both"
        )


def _unlabelled(dataset: Dataset, parts: Split, hold_out: Sequence[str]) -> tuple[list[Sample], list[Sample]]:
    """The scans without labels that may be learned from, and those of cases that are kept apart."""
    apart = {one.case for one in dataset.samples if one.name in (*parts.unseen_cases, *parts.hold_out)}
    apart |= {*hold_out}
    scans = [one for one in dataset.samples if one.labels is None and not one.excluded]
    return [one for one in scans if one.case not in apart], [one for one in scans if one.case in apart]


def _record(folder: Path, sample: Sample, dataset: Dataset) -> PredictionRecord | None:
    """The record of a scan that has a map of any class; None without."""
    return read_record(folder / sample.name) if _has_maps(folder, sample, dataset) else None


def _has_maps(folder: Path, sample: Sample, dataset: Dataset) -> bool:
    maps = TeacherMaps(folder, dataset.classes, frozenset([sample.name]))
    return any(path.is_file() for path in maps.files(sample.name))


def _unknown_maker(folder: Path, sample: Sample, dataset: Dataset) -> Iterator[str]:
    """A line if maps of a scan are there without a record that says which networks made them."""
    if _has_maps(folder, sample, dataset) and read_record(folder / sample.name) is None:
        yield (
            f"train.teacher: {folder / sample.name}: has maps, but no record.json that can be read, so "
            "nobody knows which networks made them; predict this scan by `volseg infer` again"
        )


def _learned_problems(folder: Path, records: Sequence[PredictionRecord]) -> Iterator[str]:
    """A line for each reason why maps of training scans may not teach, and the scans."""
    for seen, reason in LEARNED.items():
        names = [record.scan for record in records if record.seen == seen]
        if names:
            advice = OUT_OF_FOLD.format(folder=folder)
            yield f"train.teacher: {folder}: has maps {reason}: {join_names(names)}; {advice}"


def _map_problems(folder: Path, sample: Sample, record: PredictionRecord, dataset: Dataset) -> Iterator[str]:
    """A line for each reason why the maps of a scan are not of this dataset's."""
    where, again = f"train.teacher: {folder / sample.name}", "predict this scan by `volseg infer` again"
    if record.identity.is_namesake(sample.identity):
        yield f"{where}: its maps are of another image than {sample.name} of {dataset.folder}; {again}"
        return
    if {*record.classes} != {*dataset.classes}:
        yield (
            f"{where}: has maps of {join_names(record.classes)}, the dataset the classes "
            f"{join_names(dataset.classes)}; name a teacher of these"
        )
        return
    image = read_grid(dataset.grid_file(sample))
    for path in TeacherMaps(folder, dataset.classes, frozenset([sample.name])).files(sample.name):
        if not path.is_file():
            yield f"{where}: lacks {path.name}; {again}"
            continue
        try:
            grid = read_grid(path)
        except UserError as error:
            yield f"train.teacher: {error}"
            continue
        if turned_like(grid, image) is None:
            yield f"{where}/{path.name}: {other_grid_text(grid, image)}"
