"""The scans that a run did not train on, each as the network sees it that they are new to."""

import logging
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from volseg import console
from volseg.arguments import InferArguments
from volseg.data.dataset import Dataset, Sample
from volseg.data.volume import Volume
from volseg.errors import UserError
from volseg.formatting import natural_key
from volseg.inference.ensemble import Ensemble
from volseg.inference.predictor import Predictor
from volseg.inference.probability_maps import ProbabilityMaps
from volseg.runs import locate as runs
from volseg.runs.package import Package, open_run
from volseg.runs.run import Run
from volseg.system.timing import StepTimer

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class OutOfFoldScan:
    """A scan, its channels, and the probabilities that the network gives which it is new to."""

    sample: Sample
    channels: tuple[Volume, ...]
    maps: ProbabilityMaps
    predictor: Predictor


@dataclass(frozen=True)
class OutOfFoldScans:
    """A run, or the five folds of one, and its labelled validation scans, each with its network's run.

    Each scan is there once: with the run that saw nothing of its case, where there is one.
    """

    folder: Path
    members: tuple[Run, ...]
    dataset: Dataset
    scans: tuple[tuple[Run, Sample], ...]

    @classmethod
    def of_run(cls, name: str | None, data: Path, verb: str) -> "OutOfFoldScans":
        """That of a run by its name, or of the newest; `verb` is what one wants to do with it.

        Raises:
            UserError: a package, another dataset, or no validation scan.
        """
        folder = runs.find_run(name)
        members = tuple(_refuse_package(open_run(member), verb) for member in runs.member_folders(folder))
        dataset = Dataset.load(data)
        members[0].check_classes(dataset.classes, data)
        by = _least_exposed_runs(members)
        _refuse_other_dataset(folder, dataset, by)
        scans = _ordered_scans(members, dataset, by)
        if not scans:
            raise UserError(
                f"{folder}: has no labelled validation scan in {data}, so nothing to {verb} by; train "
                "with data.split=folds"
            )
        dataset.check_files([sample for _, sample in scans])
        return cls(folder, members, dataset, scans)

    @property
    def weights_digests(self) -> tuple[str, ...]:
        """The hashes of its networks."""
        return tuple(run.weights_digest for run in self.members)

    def predict_scans(
        self, options: InferArguments, doing: str, seconds: float | None = None
    ) -> Iterator[OutOfFoldScan]:
        """Each scan, its network loaded once; in so much time, so many of each run's as there is time for.

        The first days of all cases come before the second.
        """
        done = 0
        share = seconds and seconds / len(self.members)
        with console.progress_bar(doing) as report:
            for run, pairs in groupby(self.scans, key=lambda pair: pair[0]):
                until = share and time.monotonic() + share
                predictor = Ensemble((run.folder,), (run,)).load(options).predictor
                for _, sample in pairs:
                    image = self.dataset.channels(sample)
                    yield OutOfFoldScan(
                        sample, image, predictor.predict_probabilities(image, StepTimer()), predictor
                    )
                    done += 1
                    report(done, len(self.scans), sample.name)
                    if until and time.monotonic() > until:
                        break


def _refuse_package(run: Run, verb: str) -> Run:
    if isinstance(run, Package):
        raise UserError(
            f"{run.folder}: is a package; {verb} the run it was made from, {run.contents.run}, and "
            "export that again"
        )
    return run


def _least_exposed_runs(members: Sequence[Run]) -> dict[str, Run]:
    """For each validation scan the run that saw the least of its case."""
    by: dict[str, Run] = {}
    for kept_apart in ("unseen_cases", "later_days"):
        for run in members:
            for name in getattr(run.facts, kept_apart):
                by.setdefault(name, run)
    return by


def _refuse_other_dataset(folder: Path, dataset: Dataset, names: Collection[str]) -> None:
    """Raise where most validation scans are not in a dataset: scans of the same name are others then."""
    lacking = sorted(set(names) - {one.name for one in dataset.samples}, key=natural_key)
    if 2 * len(lacking) > len(names):
        raise UserError(
            f"{dataset.folder}: lacks {len(lacking)} of the {len(names)} validation scans of {folder} "
            f"({lacking[0]} ...); name the dataset that it was trained on"
        )
    if lacking:
        log.info("%s: lacks the validation scans %s", dataset.folder, ", ".join(lacking))


def _ordered_scans(
    members: Sequence[Run], dataset: Dataset, by: Mapping[str, Run]
) -> tuple[tuple[Run, Sample], ...]:
    """By run, the first days of its cases first."""
    labelled = [one for one in dataset.samples if one.labels and one.name in by]
    days: dict[str, list[str]] = {}
    for one in labelled:
        days.setdefault(one.case, []).append(one.name)
    in_turn = sorted(labelled, key=lambda one: days[one.case].index(one.name))
    return tuple((run, one) for run in members for one in in_turn if by[one.name] is run)
