"""Out-of-fold prediction: each validation scan by the network of the fold that has not seen its case."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from volseg import console
from volseg.arguments import InferArguments
from volseg.data.dataset import Dataset, Sample
from volseg.data.volume import Volume
from volseg.errors import UserError
from volseg.formatting import join_names, natural_key
from volseg.inference.ensemble import Ensemble
from volseg.inference.predictor import Predictor
from volseg.inference.probability_maps import ProbabilityMaps
from volseg.runs import locate as runs
from volseg.runs.package import Package, open_run
from volseg.runs.run import Run
from volseg.runs.run_files import VALIDATION
from volseg.runs.trained_on import SEEN
from volseg.system.timing import StepTimer

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class OutOfFoldScan:
    """A scan, its channels, and its probabilities by the predictor of a run that has not seen it."""

    sample: Sample
    channels: tuple[Volume, ...]
    maps: ProbabilityMaps
    predictor: Predictor


@dataclass(frozen=True)
class OutOfFoldScans:
    """A run, or the five folds of one, and its labelled validation scans, each paired with a run.

    Each scan occurs once: with the run that has not seen its case, where there is such a run.
    """

    folder: Path
    members: tuple[Run, ...]
    dataset: Dataset
    scans: tuple[tuple[Run, Sample], ...]

    @classmethod
    def of_run(cls, name: str | None, data: Path | None, verb: str) -> "OutOfFoldScans":
        """The validation scans of a run by its name, or of the newest; `verb` is for messages.

        `data` is by default the dataset that the run tells.

        Raises:
            UserError: a package, another dataset, or no validation scan.
        """
        folder = runs.find_run(name)
        members = tuple(_refuse_package(open_run(member), verb) for member in runs.member_folders(folder))
        data = data or runs.dataset_of_run(members[0].facts)
        dataset = Dataset.load(data)
        members[0].check_classes(dataset.classes, data)
        _refuse_other_dataset(folder, dataset, members)
        run_by_scan = _least_exposed_runs(members, dataset)
        left_out = _left_out_scans(members, dataset, run_by_scan)
        scans = _ordered_scans(members, dataset, run_by_scan)
        if not scans:
            raise UserError.from_problems(
                [
                    f"{folder}: has no labelled validation scan in {data} that training did not see, so "
                    f"nothing to {verb} by; train with data.split=folds",
                    *left_out,
                ]
            )
        if gate := members[0].config.inference.gate:
            log.info("%s: its gate, %s, takes no part: it may have seen these scans", folder, gate.run)
        for line in left_out:
            log.info("%s: not used to %s by: %s", folder, verb, line)
        if unknown := dict.fromkeys(name for run in members for name in run.facts.trained_on.unknown):
            log.info("%s: unknown which scans its first weights saw: %s", folder, ", ".join(unknown))
        dataset.check_files([sample for _, sample in scans])
        return cls(folder, members, dataset, scans)

    @property
    def weights_digests(self) -> tuple[str, ...]:
        """SHA-256 of the weights of each run."""
        return tuple(run.weights_digest for run in self.members)

    def predict_scans(
        self, options: InferArguments, doing: str, seconds: float | None = None, *, fine: bool = False
    ) -> Iterator[OutOfFoldScan]:
        """Predict the scans run by run, the first days of all cases before the second.

        With `seconds`, each run has an equal share of this time, and its last scans are left out. `fine`
        probabilities have 16 bits.
        """
        done = 0
        log.info("%s %d scans, each by a network that was not trained on it", doing, len(self.scans))
        share = seconds and seconds / len(self.members)
        with console.progress_bar(doing) as report:
            for run, pairs in groupby(self.scans, key=lambda pair: pair[0]):
                deadline = share and time.monotonic() + share
                predictor = Ensemble((run.folder,), (run,)).load(options).predictor
                for _, sample in pairs:
                    channels = self.dataset.channels(sample)
                    maps = predictor.predict_probabilities(channels, StepTimer(), fine=fine)
                    yield OutOfFoldScan(sample, channels, maps, predictor)
                    done += 1
                    report(done, len(self.scans), sample.name)
                    if deadline and time.monotonic() > deadline:
                        break


def _refuse_package(run: Run, verb: str) -> Run:
    if isinstance(run, Package):
        raise UserError(
            f"{run.folder}: is a package; {verb} the run it was made from, {run.contents.run}, and "
            "export that again"
        )
    return run


def _least_exposed_runs(members: Sequence[Run], dataset: Dataset) -> dict[str, Run]:
    """For each validation scan the run whose weights, and those they came from, saw the least of its case.

    Scans that all of them were trained on, and those that are excluded, are not among them.
    """
    scans = [sample.identity for sample in dataset.samples]
    known = [(run, run.facts.trained_on.for_dataset(scans)) for run in members]
    runs: dict[str, Run] = {}
    for sample in dataset.samples:
        exposure = {
            trained_on.seen_in_training(sample.identity): run
            for run, trained_on in reversed(known)  # of several the first
            if run.facts.split_name(sample.identity) in VALIDATION
        }
        least = max(exposure, key=SEEN.index, default=SEEN[0])
        if least != "scan" and not sample.excluded:
            runs[sample.name] = exposure[least]
    return runs


def _left_out_scans(
    members: Sequence[Run], dataset: Dataset, run_by_scan: Mapping[str, Run]
) -> tuple[str, ...]:
    """A line for each reason why validation scans are left out, and the scans."""
    reasons: dict[str, list[str]] = {}
    for sample in dataset.samples:
        is_validated = any(run.facts.split_name(sample.identity) in VALIDATION for run in members)
        if is_validated and sample.name not in run_by_scan:
            reason = "excluded from the dataset"
            if not sample.excluded:
                reason = "trained on by the weights that training began with"
            reasons.setdefault(reason, []).append(sample.name)
    return tuple(f"{reason}: {join_names(names)}" for reason, names in reasons.items())


def _refuse_other_dataset(folder: Path, dataset: Dataset, members: Sequence[Run]) -> None:
    """Raise where most validation scans are missing: then scans of the same name may be other scans."""
    known = {one.name: one for run in members for one in run.facts.validation_scans}
    there = [sample.identity for sample in dataset.samples]
    lacking = [name for name, one in known.items() if not any(map(one.is_same_scan, there))]
    lacking.sort(key=natural_key)
    if 2 * len(lacking) > len(known):
        namesakes = {one.name for one in there}.intersection(lacking)
        hint = ", whose names are other images there" if namesakes else ""
        raise UserError(
            f"{dataset.folder}: lacks {len(lacking)} of the {len(known)} validation scans of {folder} "
            f"({lacking[0]} ...){hint}; name the dataset that it was trained on"
        )
    if lacking:
        log.info("%s: lacks the validation scans %s", dataset.folder, ", ".join(lacking))


def _ordered_scans(
    members: Sequence[Run], dataset: Dataset, run_by_scan: Mapping[str, Run]
) -> tuple[tuple[Run, Sample], ...]:
    """The labelled scans with their runs, run by run, the first days of cases before the second."""
    labelled = [sample for sample in dataset.samples if sample.labels and sample.name in run_by_scan]
    days: dict[str, list[str]] = {}
    for sample in labelled:
        days.setdefault(sample.case, []).append(sample.name)
    ordered = sorted(labelled, key=lambda sample: days[sample.case].index(sample.name))
    return tuple((run, sample) for run in members for sample in ordered if run_by_scan[sample.name] is run)
