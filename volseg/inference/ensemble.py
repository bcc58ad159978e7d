"""Runs that predict together: one, several whose networks are averaged, or the folds of one."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from volseg.arguments import InferArguments
from volseg.config.sections import Gate
from volseg.data.image_identity import ScanIdentity
from volseg.errors import UserError
from volseg.formatting import format_count, join_names
from volseg.inference.ensemble_problems import duplicate_problems, mismatch_problems, weight_problems
from volseg.inference.predictor import Predictor, PredictorGate, build_predictor, ensemble_member
from volseg.inference.run_settings import configure_run, mask_settings, with_inference
from volseg.inference.training_range import TrainingRange
from volseg.model.engines import ConversionError, EngineOptions, RunningNetwork, Torch
from volseg.model.engines.selection import choose_engine
from volseg.runs import locate
from volseg.runs.folds import FinishedFolds
from volseg.runs.package import open_run
from volseg.runs.run import Run
from volseg.runs.run_files import SETS, RunSplits
from volseg.runs.trained_on import TrainedOn
from volseg.system.hardware import available_cores


@dataclass(frozen=True)
class LoadedEnsemble:
    """Networks ready to predict.

    `runs` have the options in place of their own settings of inference; `reason` says why the engine was
    chosen; `gate` are the networks of the run that gates slices, if any.
    """

    ensemble: "Ensemble"
    runs: tuple[Run, ...]
    networks: tuple[RunningNetwork, ...]
    reason: str
    gate: "LoadedEnsemble | None" = None

    @cached_property
    def predictor(self) -> Predictor:
        """The networks with their runs' settings."""
        weights = self.ensemble.shares or (None,) * len(self.runs)
        members = map(ensemble_member, self.runs, self.networks, weights)
        opened = self.ensemble.gate
        gate = PredictorGate(self.gate.predictor, opened.settings) if self.gate and opened else None
        return build_predictor(self.runs[0], *members, gate=gate)

    @property
    def settings(self) -> list[object]:
        """JSON values of all that masks depend on beside the image."""
        each = [mask_settings(run, net.kind) for run, net in zip(self.runs, self.networks, strict=True)]
        weights = [{"weights": self.ensemble.shares}] if self.ensemble.weights else []
        return [*each, *weights, *self._gate_settings]

    @property
    def _gate_settings(self) -> list[object]:
        """What masks depend on by a gate."""
        opened = self.ensemble.gate
        if not (self.gate and opened):
            return []
        return [{"gate": [opened.settings.probability, opened.settings.pixels, *self.gate.settings]}]

    def reduced(self, networks: int, flips: int) -> "LoadedEnsemble":
        """The first so many networks, each with its mirrored views along the first so many axes."""
        runs = (with_inference(run, flips=run.config.inference.flips[:flips]) for run in self.runs[:networks])
        return replace(
            self,
            ensemble=self.ensemble.first_runs(networks),
            runs=tuple(runs),
            networks=self.networks[:networks],
        )


@dataclass(frozen=True)
class OpenedGate:
    """A run, or the mean of its folds, that has the last word on slices, by these settings."""

    ensemble: "Ensemble"
    settings: Gate


@dataclass(frozen=True)
class Ensemble:
    """Runs of the same classes and channels, and the folders they were named by.

    Post-processing and the gate are the first run's. `weights`, one a run, are relative; without them all
    count alike. `weights_found` says by what they were found, where nobody gave them; `trained_since_tuned`
    that some were found for earlier networks of these runs, and so are not taken.
    """

    folders: tuple[Path, ...]
    runs: tuple[Run, ...]
    weights: tuple[float, ...] = ()
    gate: OpenedGate | None = None
    weights_found: str = ""
    trained_since_tuned: bool = False

    @classmethod
    def open(cls, names: Sequence[str]) -> "Ensemble":
        """The runs of these names or paths, those of a run's finished folds; by default the newest.

        A weight behind a name, as in `a=0.6`, is shared by the run's folds.

        Raises:
            UserError: no such run, one that is named twice, runs that can't be averaged, or a weight that is
                none or lacks for some of the runs.
        """
        named = [locate.split_weight(name) for name in names]
        folders = tuple(locate.find_run(name) for name, _ in named or ((None, None),))
        members = [locate.member_folders(folder) for folder in folders]
        opened = tuple(open_run(member) for own in members for member in own)
        problems = [
            *weight_problems(named),
            *duplicate_problems([member for own in members for member in own]),
            *mismatch_problems(opened),
        ]
        if problems:
            raise UserError.from_problems(problems)
        found = cls(folders, opened)
        weights = [weight for _, weight in named if weight is not None]
        return found.with_weights(weights) if len(weights) > 1 else found

    def with_weights(self, weights: Sequence[float], found: str = "") -> "Ensemble":
        """The same runs by one weight a folder, shared by its networks; `found` says by what it was found."""
        by_folder = dict(zip(self.folders, weights, strict=True))
        shared = [
            by_folder[folder] / len(self.runs_of(folder))
            for folder in self.folders
            for _ in self.runs_of(folder)
        ]
        return replace(self, weights=tuple(shared), weights_found=found)

    def runs_of(self, folder: Path) -> list[Run]:
        """The runs that a folder was named for: itself, or its folds."""
        own = {run.folder: run for run in self.runs}
        folds = [run for run in self.runs if run.folder.parent == folder and run.folder not in self.folders]
        return [own[folder]] if folder in own else folds

    @property
    def name(self) -> str:
        """The runs' labels, as records name them."""
        return " + ".join(locate.run_label(folder) for folder in self.folders)

    @property
    def facts(self) -> RunSplits:
        """The first run's splits; classes and channels are those of all runs."""
        return self.runs[0].facts

    @property
    def shares(self) -> tuple[float, ...]:
        """The weights of the runs so that they add up to 1; none where all count alike."""
        total = math.fsum(self.weights)
        return tuple(weight / total for weight in self.weights)

    @property
    def weight_by_network(self) -> dict[str, float]:
        """The share of each network, by its folder, as records tell it; none where all count alike."""
        pairs = zip(self.runs, self.shares, strict=False)
        return {str(run.folder): round(share, 6) for run, share in pairs}

    def __str__(self) -> str:
        """The folders, the weights of their networks, if any, and the number of networks averaged."""
        names = [f"{self._share_of(f):.3g} {f}" if self.weights else str(f) for f in self.folders]
        kind = "weighted mean" if self.weights else "mean"
        folders = " + ".join(names)
        return f"{folders} ({kind} of {len(self.runs)} networks)" if len(self.runs) > 1 else folders

    def _share_of(self, folder: Path) -> float:
        """The share of all networks of a folder together."""
        own = self.runs_of(folder)
        return math.fsum(share for run, share in zip(self.runs, self.shares, strict=True) if run in own)

    @property
    def weights_digest(self) -> str:
        """SHA-256 of the weights of all networks."""
        hashes = [run.weights_digest for run in self.runs]
        return hashes[0] if len(hashes) == 1 else hashlib.sha256(" ".join(hashes).encode()).hexdigest()

    def set_of(self, scan: ScanIdentity) -> str:
        """The set of a scan, in the run whose training saw the most of it."""
        return min((run.facts.split_name(scan) for run in self._deciding_runs), key=SETS.index)

    @cached_property
    def trained_on(self) -> TrainedOn:
        """The scans that went into the weights of any of the runs, the gate's included."""
        return sum((run.facts.trained_on for run in self._deciding_runs), TrainedOn())

    @cached_property
    def training_range(self) -> TrainingRange:
        """What the scans were like that the runs were trained on, those that are averaged."""
        return TrainingRange.of_runs(self.runs)

    @property
    def _deciding_runs(self) -> tuple[Run, ...]:
        """The runs that masks depend on: those that are averaged, and the gate's."""
        return (*self.runs, *(self.gate.ensemble.runs if self.gate else ()))

    def notes(self) -> Iterator[str]:
        """Notes for the user: folds that take no part, post-processing that has no effect, a gate."""
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
        if self.weights_found:
            alike = " ".join(f"--run {locate.run_label(folder)}=1" for folder in self.folders)
            yield f"{self} {self.weights_found}; by {alike} they would count alike"
        if self.trained_since_tuned:
            named = " ".join(f"--run {locate.run_label(folder)}" for folder in self.folders)
            yield (
                "the weights that `volseg tune` found are of networks before these, so all count alike; "
                f"find them anew with `volseg tune {named}`"
            )
        yield from self._gate_notes()

    def _gate_notes(self) -> Iterator[str]:
        """The gate that is used, or that of a run named later, which is not."""
        if self.gate:
            p, n = self.gate.settings.probability, self.gate.settings.pixels
            yield (
                f"a class is taken out of slices in which {self.gate.ensemble} finds fewer than "
                f"{format_count(n, 'pixel')} of at least {p:g}; a slice may be emptied wrongly"
            )
        elif not self.runs[0].config.inference.gate:
            for run in self.runs[1:]:
                if gate := run.config.inference.gate:
                    told = "its gate is not used, as it is not named first"
                    yield f"{run.folder}: {told}; --gate {gate.run} uses it"

    @property
    def first_run_only(self) -> "Ensemble":
        """An ensemble of the first run."""
        return Ensemble((self.runs[0].folder,), self.runs[:1], gate=self.gate)

    def first_runs(self, count: int) -> "Ensemble":
        """The first so many networks, under the names of all."""
        return replace(self, runs=self.runs[:count], weights=self.weights[:count] if count > 1 else ())

    def load(self, options: InferArguments, at_once: int | None = None) -> LoadedEnsemble:
        """The networks in their engines, for `at_once` windows at a time (None: as the runs say).

        Raises:
            UserError: weights that are missing or damaged, or an engine that can't run them.
        """
        runs = tuple(configure_run(run, options) for run in self.runs)
        loaded = [_load_network(run, options, at_once) for run in runs]
        networks, reason = tuple(network for network, _ in loaded), loaded[0][1]
        gate = self.gate.ensemble.load(options, at_once) if self.gate else None
        return LoadedEnsemble(self, runs, networks, reason, gate)


def _load_network(run: Run, options: InferArguments, at_once: int | None) -> tuple[RunningNetwork, str]:
    """A run's network in its engine, and the reason for this engine."""
    selection = choose_engine(options.engine, run.trained_model.formats, options.device)
    at_once = at_once or run.config.inference.batch
    work = EngineOptions(available_cores(), at_once, options.compile, options.device)
    try:
        return selection.engine.load(run.trained_model, work), selection.reason
    except ConversionError as error:
        if options.engine != "auto" or Torch().missing:
            raise
        return Torch().load(run.trained_model, work), str(error)
