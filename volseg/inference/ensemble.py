"""Runs that predict together: one, several whose networks are averaged, or the folds of one."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from volseg import __version__
from volseg.arguments import InferArguments
from volseg.data.image_identity import ScanIdentity
from volseg.errors import UserError
from volseg.formatting import join_names
from volseg.inference.predictor import Predictor, build_predictor, ensemble_member
from volseg.model.engines import ConversionError, EngineOptions, RunningNetwork, Torch
from volseg.model.engines.selection import choose_engine
from volseg.runs import locate
from volseg.runs.folds import FinishedFolds
from volseg.runs.package import open_run
from volseg.runs.run import Run
from volseg.runs.run_files import SETS, RunSplits
from volseg.runs.trained_on import TrainedOn
from volseg.system.hardware import available_cores

FAST_OVERLAP = 0.25


@dataclass(frozen=True)
class LoadedEnsemble:
    """Networks ready to predict.

    `settings` are JSON values of all that masks depend on beside the image; `reason` says why the engine
    was chosen.
    """

    predictor: Predictor
    settings: list[object]
    reason: str


@dataclass(frozen=True)
class Ensemble:
    """Runs of the same classes and channels, and the folders they were named by.

    Post-processing is the first run's.
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
        """The runs' labels, as records name them."""
        return " + ".join(locate.run_label(folder) for folder in self.folders)

    @property
    def facts(self) -> RunSplits:
        """The first run's splits; classes and channels are those of all runs."""
        return self.runs[0].facts

    def __str__(self) -> str:
        """The folders, and the number of networks that are averaged."""
        folders = " + ".join(map(str, self.folders))
        return f"{folders} (mean of {len(self.runs)} networks)" if len(self.runs) > 1 else folders

    @property
    def weights_digest(self) -> str:
        """SHA-256 of the weights of all networks."""
        hashes = [run.weights_digest for run in self.runs]
        return hashes[0] if len(hashes) == 1 else hashlib.sha256(" ".join(hashes).encode()).hexdigest()

    def set_of(self, scan: ScanIdentity) -> str:
        """The set of a scan, in the run whose training saw the most of it."""
        return min((run.facts.split_name(scan) for run in self.runs), key=SETS.index)

    @cached_property
    def trained_on(self) -> TrainedOn:
        """The scans that went into the weights of any of the runs."""
        return sum((run.facts.trained_on for run in self.runs), TrainedOn())

    def notes(self) -> Iterator[str]:
        """Notes for the user: folds that take no part, post-processing that has no effect."""
        for folder in self.folders:
            five = FinishedFolds.read(folder)
            if five and five.unfinished_folds:
                yield (
                    f"{folder}: not finished: {', '.join(five.unfinished_folds)}; predicted by the other "
                    f"{len(five.finished)}; go on with `volseg train ... --fold each --resume`"
                )
        first = self.runs[0]
        others = [run for run in self.runs[1:] if run.config.postprocess != first.config.postprocess]
        if others:
            files = join_names([str(run.steps_file) for run in others])
            yield f"{first.steps_file}: its steps are applied; those of {files} differ"

    @property
    def first_run_only(self) -> "Ensemble":
        """An ensemble of the first run."""
        return Ensemble((self.runs[0].folder,), self.runs[:1])

    def load(self, options: InferArguments, at_once: int | None = None) -> LoadedEnsemble:
        """The networks in their engines, for `at_once` windows at a time (None: as the runs say).

        Raises:
            UserError: weights that are missing or damaged, or an engine that can't run them.
        """
        runs = [configure_run(run, options) for run in self.runs]
        loaded = [(run, *_load_network(run, options, at_once)) for run in runs]
        predictor = build_predictor(self.runs[0], *(ensemble_member(run, net) for run, net, _ in loaded))
        return LoadedEnsemble(
            predictor, [mask_settings(run, net.kind) for run, net, _ in loaded], reason=loaded[0][2]
        )


def configure_run(run: Run, options: InferArguments) -> Run:
    """A run whose config has the options in place of its own settings of inference."""
    changes: dict[str, object] = {"overlap": FAST_OVERLAP, "flips": ()} if options.fast else {}
    if options.overlap is not None:
        changes["overlap"] = options.overlap
    if options.tta == "flips":
        changes["flips"] = run.config.augment.flip
        if not run.config.augment.flip:
            raise UserError(
                f"--tta flips: {run.folder} was trained without flips (augment.flip is empty), so "
                "mirrored scans are strange to it; leave --tta out"
            )
    if not options.body_box:
        changes["body_box"] = False
    inference = run.config.inference.model_copy(update=changes)
    return run.with_config(run.config.model_copy(update={"inference": inference}))


def _load_network(run: Run, options: InferArguments, at_once: int | None) -> tuple[RunningNetwork, str]:
    """A run's network in its engine, and the reason for this engine."""
    selection = choose_engine(options.engine, run.trained_model.formats)
    work = EngineOptions(available_cores(), at_once or run.config.inference.batch, options.compile)
    try:
        return selection.engine.load(run.trained_model, work), selection.reason
    except ConversionError as error:
        if options.engine != "auto" or Torch().missing:
            raise
        return Torch().load(run.trained_model, work), str(error)


def mask_settings(run: Run, kind: str) -> list[object]:
    """JSON values of what a run's masks depend on beside the image; `kind` is the engine's arithmetic."""
    sections = {"data", "network", "inference", "postprocess"}
    config = run.config.model_dump(mode="json", include=sections)
    classes = [run.facts.classes, run.facts.exclusive]
    config["inference"].pop("batch")  # masks don't depend on it
    return [run.network_identity, classes, run.config.window, kind, config, __version__]


def _duplicate_problems(members: Sequence[Path]) -> Iterator[str]:
    paths = [member.resolve() for member in members]
    for position, member in enumerate(members):
        if paths[position] in paths[:position]:
            yield f"{member}: named twice; name each run once, it would count double"


def _mismatch_problems(runs: Sequence[Run]) -> Iterator[str]:
    """A line for each run that can't be averaged with the first."""
    first = _run_traits(runs[0])
    for run in runs[1:]:
        traits = _run_traits(run).items()
        differences = [f"{t} {value} (there {first[t]})" for t, value in traits if value != first[t]]
        if differences:
            yield (
                f"{run.folder}: can't be averaged with {runs[0].folder}: {'; '.join(differences)}; "
                "name runs with the same classes and channels, in the same order"
            )


def _run_traits(run: Run) -> dict[str, str]:
    facts = run.facts
    return {
        "has the classes": ", ".join(facts.classes),
        "has the channels": ", ".join(facts.channels),
        "its classes": "exclude each other" if facts.exclusive else "may overlap",
    }
