"""The runs that predict together: one, several whose networks are averaged, or the folds of one."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from volseg import __version__
from volseg.errors import UserError
from volseg.inference.predictor import Predictor, build_predictor, ensemble_member
from volseg.model.engines import ConversionError, EngineOptions, RunningNetwork, Torch
from volseg.model.engines.selection import Wanted, choose_engine
from volseg.runs import locate
from volseg.runs.folds import FinishedFolds
from volseg.runs.package import open_run
from volseg.runs.run import Run
from volseg.runs.run_files import RunSplits
from volseg.system.hardware import available_cores

FAST_OVERLAP = 0.25
SEEN = ("scan", "case", "none")
SETS = ("train", "later_days", "unseen_cases", "hold_out", "other")
"""Both from what training saw most of to what it saw least of."""


@dataclass(frozen=True)
class Ensemble:
    """Runs of the same classes and channels, and the folders they were named by.

    The first run gives the grid on which logits are averaged, and the post-processing.
    """

    folders: tuple[Path, ...]
    runs: tuple[Run, ...]

    @classmethod
    def open(cls, names: Sequence[str]) -> "Ensemble":
        """The runs of these names or paths, those of a run's finished folds; by default the newest.

        Raises:
            UserError: no such run, one that is named twice, or runs that can't be averaged.
        """
        folders = tuple(locate.find_run(name) for name in names or (None,))
        members = [member for folder in folders for member in locate.member_folders(folder)]
        opened = tuple(open_run(member) for member in members)
        problems = [*_duplicate_problems(members), *_mismatch_problems(opened)]
        if problems:
            raise UserError.from_problems(problems)
        return cls(folders, opened)

    @property
    def name(self) -> str:
        """What records call the runs."""
        return " + ".join(locate.run_label(folder) for folder in self.folders)

    @property
    def facts(self) -> RunSplits:
        """The first run's facts; classes and channels are those of all."""
        return self.runs[0].facts

    def __str__(self) -> str:
        """The folders, and of how many networks this is the mean."""
        folders = " + ".join(map(str, self.folders))
        return f"{folders} (mean of {len(self.runs)} networks)" if len(self.runs) > 1 else folders

    @property
    def weights_digest(self) -> str:
        """The hash of all networks' weights.

        Raises:
            UserError: training has not written any yet.
        """
        hashes = [run.weights_digest for run in self.runs]
        return hashes[0] if len(hashes) == 1 else hashlib.sha256(" ".join(hashes).encode()).hexdigest()

    def set_of(self, scan: str) -> str:
        """The set a scan was in: that of the run which saw the most of it."""
        return min((run.facts.split_name(scan) for run in self.runs), key=SETS.index)

    def seen_in_training(self, scan: str, case: str) -> str:
        """The most that any run saw of a scan in training."""
        return min((run.facts.seen_in_training(scan, case) for run in self.runs), key=SEEN.index)

    def notes(self) -> Iterator[str]:
        """What a user may not expect: folds that take no part, settings that have no effect."""
        for folder in self.folders:
            five = FinishedFolds.read(folder)
            if five and five.unfinished_folds:
                yield (
                    f"{folder}: not finished: {', '.join(five.unfinished_folds)}; predicted by the other "
                    f"{len(five.finished)}; go on with `volseg train ... --fold each --resume`"
                )
        first = self.runs[0]
        for run in self.runs[1:]:
            if run.config.postprocess != first.config.postprocess:
                yield f"{run.steps_file}: has other steps than {first.steps_file}, which are applied"

    @property
    def first_run_only(self) -> "Ensemble":
        """The first run alone."""
        return Ensemble((self.runs[0].folder,), self.runs[:1])

    def load(self, how: "InferenceOptions") -> "LoadedEnsemble":
        """The networks in their engines, with what masks depend on.

        Raises:
            UserError: weights that are missing or damaged, or an engine that can't run them.
        """
        taking_part = [how.apply_to(run) for run in self.runs]
        networks, reasons = zip(*(_load_network(run, how) for run in taking_part), strict=True)
        pairs = list(zip(taking_part, networks, strict=True))
        predictor = build_predictor(self.runs[0], *(ensemble_member(run, network) for run, network in pairs))
        told = [_mask_settings(run, network.kind) for run, network in pairs]
        return LoadedEnsemble(predictor, self.weights_digest, json.dumps(told), reasons[0])


@dataclass(frozen=True)
class InferenceOptions:
    """How runs are applied, where it is otherwise than their configs say.

    `fast` is with little overlap, and by the first network only; `flips` the mean over the mirrored
    views that training saw; `at_once` the windows in work at a time; `max_memory` is in bytes.
    """

    engine: Wanted = "auto"
    overlap: float | None = None
    flips: bool = False
    fast: bool = False
    body_box: bool = True
    compiled: bool = False
    max_memory: int | None = None
    at_once: int | None = None

    def apply_to(self, run: Run) -> Run:
        """The run with these settings.

        Raises:
            UserError: flips of a run that was trained without.
        """
        changed: dict[str, object] = {}
        if self.fast:
            changed = {"overlap": FAST_OVERLAP, "flips": ()}
        if self.overlap is not None:
            changed["overlap"] = self.overlap
        if self.flips:
            changed["flips"] = run.config.augment.flip
            if not run.config.augment.flip:
                raise UserError(
                    f"--tta flips: {run.folder} was trained without flips (augment.flip is empty), so "
                    "mirrored scans are strange to it; leave --tta out"
                )
        if not self.body_box:
            changed["body_box"] = False
        inference = run.config.inference.model_copy(update=changed)
        return run.with_config(run.config.model_copy(update={"inference": inference}))


@dataclass(frozen=True)
class LoadedEnsemble:
    """Networks ready to predict.

    `weights` is the hash of all their weights; `settings` all that masks depend on beside the image,
    as text to hash; `reason` says why the engine is the one that it is.
    """

    predictor: Predictor
    weights_digest: str
    settings: str
    reason: str


def _load_network(run: Run, how: InferenceOptions) -> tuple[RunningNetwork, str]:
    """A run's network in its engine, and why in this one."""
    chosen = choose_engine(how.engine, run.trained_model.formats)
    work = EngineOptions(available_cores(), how.at_once or run.config.inference.batch, how.compiled)
    try:
        return chosen.engine.load(run.trained_model, work), chosen.reason
    except ConversionError as error:
        if how.engine != "auto" or Torch().missing:
            raise
        return Torch().load(run.trained_model, work), str(error)


def _mask_settings(run: Run, kind: str) -> list[object]:
    sections = {"data", "network", "inference", "postprocess"}
    config = run.config.model_dump(mode="json", include=sections)
    classes = [run.facts.classes, run.facts.exclusive]
    config["inference"].pop("batch")  # masks don't depend on it
    return [run.network_identity, classes, run.config.window, kind, config, __version__]


def _duplicate_problems(members: Sequence[Path]) -> Iterator[str]:
    seen: set[Path] = set()
    for member in members:
        if member.resolve() in seen:
            yield f"{member}: named twice; name each run once, it would count double"
        seen.add(member.resolve())


def _mismatch_problems(opened: Sequence[Run]) -> Iterator[str]:
    """Why runs can't be averaged with the first, a line for each that can't."""
    first = _run_traits(opened[0])
    for run in opened[1:]:
        different = [
            f"{what} {own} (there {first[what]})"
            for what, own in _run_traits(run).items()
            if own != first[what]
        ]
        if different:
            yield (
                f"{run.folder}: can't be averaged with {opened[0].folder}: {'; '.join(different)}; "
                "name runs with the same classes and channels, in the same order"
            )


def _run_traits(run: Run) -> dict[str, str]:
    facts = run.facts
    return {
        "has the classes": ", ".join(facts.classes),
        "has the channels": ", ".join(facts.channels),
        "its classes": "exclude each other" if facts.exclusive else "may overlap",
    }
