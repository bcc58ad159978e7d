"""`volseg tune --run A --run B`: the weights of an ensemble, found on scans that are new to its runs."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path

from volseg import __version__
from volseg.arguments import InferArguments
from volseg.data.dataset import Dataset, Sample
from volseg.errors import UserError
from volseg.evaluation.bootstrap import LEAST_CASES, Estimate, FiniteSums
from volseg.formatting import format_count
from volseg.inference.ensemble import Ensemble
from volseg.inference.out_of_fold import OutOfFoldScans
from volseg.inference.predictor import Predictor, build_predictor
from volseg.inference.probability_maps import ProbabilityMaps
from volseg.metrics.mask_pair import MaskPair
from volseg.runs import locate
from volseg.runs.ensemble_weights import TunedEnsemble, WeightedRun, keep_tuned_ensemble
from volseg.runs.run_files import ENSEMBLES
from volseg.system.timing import StepTimer
from volseg.tuning.nested_cross_validation import mean_score, pool_sums
from volseg.tuning.objectives import OBJECTIVES, ObjectiveName, default_objective
from volseg.tuning.scan_scoring import case_names, scans_in_time, score_scans, sum_by_case
from volseg.tuning.tune import require_enough_cases
from volseg.tuning.weight_search import Shares, choose_shares, equal_shares, share_grid, shares_to_refine

ROUNDS = 2
"""The time of all weights over that of the grid, at most."""


@dataclass(frozen=True)
class ScanOfRuns:
    """A scan, and its probabilities by each run."""

    sample: Sample
    maps: tuple[ProbabilityMaps, ...]


@dataclass(frozen=True)
class TunedWeights:
    """The runs and their weights, which are equal where no others were shown to be better.

    `scores` are means over all scans by weights: of equal ones, of each run alone and of the chosen ones. The
    score after, and so the gain, is of cases that had no part in choosing.
    """

    folders: tuple[Path, ...]
    shares: Shares
    goal: ObjectiveName
    scans: int
    cases: int
    before: float
    after: float
    gain: Estimate
    scores: dict[Shares, float]

    @property
    def is_changed(self) -> bool:
        """Whether the runs are not to count alike."""
        return self.shares != equal_shares(len(self.folders))

    @property
    def left_out(self) -> list[Path]:
        """The runs that are better left out."""
        return [folder for folder, share in zip(self.folders, self.shares, strict=True) if not share]

    @property
    def file(self) -> Path:
        """Where infer finds the weights."""
        return self.folders[0] / ENSEMBLES

    def sentence(self, digits: int = 4) -> str:
        """By what the weights were found and what they promise."""
        scans = f"{format_count(self.scans, 'scan')} of {format_count(self.cases, 'case')}"
        score = OBJECTIVES[self.goal].title.removeprefix("the ")
        found = f"by volseg tune {__version__} on {date.today().isoformat()}, on {scans}"
        if self.cases < LEAST_CASES:
            return f"{found}, too few to promise new cases a gain"
        return (
            f"{found}: new cases can expect "
            f"a mean {score} of {self.after:.{digits}f} instead of {self.before:.{digits}f} with equal "
            f"weights, a gain of {self.gain.to_text(digits, sign='+')}"
        )


def tune_weights(
    names: Sequence[str],
    data: Path | None,
    *,
    goal: ObjectiveName | None = None,
    max_seconds: float = 600,
    how: InferArguments = InferArguments(),
) -> TunedWeights:
    """Search the weights of runs on scans that are new to all of them; write them where infer finds them.

    Each run predicts a scan by the network that its case is new to; the steps are the first run's. At most a
    quarter of the time is for predicting; scans for which there is none are left out. Where equal weights
    stay, or a run is better left out, what was found for these runs before is removed.

    Raises:
        UserError: runs that can't be averaged, a package, another dataset, too few cases, or too little time.
    """
    until = time.monotonic() + max_seconds
    _refuse_given_weights(names)
    ensemble = Ensemble.open(names)
    data = data or locate.dataset_of_run(ensemble.facts)
    validations = [OutOfFoldScans.of_run(name, data, "tune") for name in names]
    scans = _predict_common_scans(validations, how, max_seconds / 4)
    goal = goal or default_objective(validations[0].dataset)
    scorer = ShareScorer(validations[0].dataset, build_predictor(ensemble.runs[0]), goal)
    grid = partial(scorer, share_grid(len(names)))
    affordable = scans_in_time(scans, grid, until=until, rounds=ROUNDS)
    require_enough_cases(
        case_names(affordable), f"--max-time {max_seconds:g}s: is enough for", "give more time"
    )
    table = _score_shares(scorer, affordable, until)
    tuned = _tuned_weights(ensemble, table, affordable, goal)
    _write_weights(tuned, ensemble)
    return tuned


@dataclass(frozen=True)
class ShareScorer:
    """Scores masks by weighted means of probabilities, cleaned by the steps of a predictor."""

    dataset: Dataset
    predictor: Predictor
    goal: ObjectiveName

    def __call__(self, shares: Sequence[Shares], scan: ScanOfRuns) -> list[FiniteSums] | str:
        """The sums of all classes of a scan for each of some weights, or the problem of its files."""
        try:
            image = self.dataset.image(scan.sample)
            labels = {name: self.dataset.label(scan.sample, name) for name in self.dataset.classes}
        except UserError as error:
            return str(error)
        sums = []
        for one in shares:
            maps = ProbabilityMaps.weighted_mean(scan.maps, one)
            pairs = [
                MaskPair.with_slices_last(
                    labels[name].astype(bool), mask, scan.sample.spacing_mm, slice_axis=maps.grid.slice_axis
                )
                for name, mask in self.predictor.postprocess_masks(maps, image, StepTimer())
            ]
            sums.append(pool_sums([OBJECTIVES[self.goal].sums(pair) for pair in pairs]))
        return sums


def _refuse_given_weights(names: Sequence[str]) -> None:
    given = [name for name in names if locate.split_weight(name)[1] is not None]
    if given:
        raise UserError(f"--run {given[0]}: tune finds the weights itself; leave the weight out")


def _predict_common_scans(
    validations: Sequence[OutOfFoldScans], how: InferArguments, seconds: float
) -> list[ScanOfRuns]:
    """The scans that are new to all runs, each predicted by all of them, as far as there is time."""
    common = set.intersection(*({sample.name for _, sample in one.scans} for one in validations))
    cases = {sample.case for _, sample in validations[0].scans if sample.name in common}
    names = ", ".join(str(one.folder) for one in validations)
    require_enough_cases(
        cases, f"{names}: have together validated", "train them on the same folds, best with --fold each"
    )
    found: dict[str, list[ProbabilityMaps]] = {}
    for one in validations:
        own = replace(one, scans=tuple(pair for pair in one.scans if pair[1].name in common))
        share, doing = seconds / len(validations), f"predicting by {one.folder.name}"
        for scan in own.predict_scans(how, doing, share, fine=True):
            found.setdefault(scan.sample.name, []).append(scan.maps)
    return [
        ScanOfRuns(sample, tuple(found[sample.name]))
        for _, sample in validations[0].scans
        if len(found.get(sample.name, ())) == len(validations)
    ]


def _score_shares(scorer: ShareScorer, scans: Sequence[ScanOfRuns], until: float) -> dict[Shares, FiniteSums]:
    """The scores of the grid and of what refines it, by case; the latter only if time is left."""
    table: dict[Shares, FiniteSums] = {}
    cases, weights = len(case_names(scans)), OBJECTIVES[scorer.goal].weights
    grid = share_grid(len(scans[0].maps))
    for what in ("weights", "finer weights"):
        shares = shares_to_refine(table, cases, weights) if table else grid
        found = score_scans(scans, partial(scorer, shares), until=until, what=what)
        if found is None and not table:
            raise UserError(f"--max-time: too short to try weights on {len(scans)} scans; give more")
        for number, one in enumerate(shares if found else ()):
            table[one] = sum_by_case(scans, [scan[number] for scan in found or ()])
    return table


def _tuned_weights(
    ensemble: Ensemble, table: dict[Shares, FiniteSums], scans: Sequence[ScanOfRuns], goal: ObjectiveName
) -> TunedWeights:
    """The choice of weights and what it promises."""
    runs, cases, weights = len(ensemble.folders), len(case_names(scans)), OBJECTIVES[goal].weights
    choice = choose_shares(table, cases, weights)
    alone = [tuple(float(place == own) for place in range(runs)) for own in range(runs)]
    return TunedWeights(
        folders=ensemble.folders,
        shares=choice.shares,
        goal=goal,
        scans=len(scans),
        cases=cases,
        before=mean_score(choice.before, weights),
        after=mean_score(choice.after, weights),
        gain=choice.gain,
        scores={
            one: mean_score(table[one], weights)
            for one in dict.fromkeys([equal_shares(runs), *alone, choice.shares])
        },
    )


def _write_weights(tuned: TunedWeights, ensemble: Ensemble) -> None:
    """Write the weights where infer finds them; without those of runs that are to count alike."""
    networks = [tuple(run.weights_digest for run in ensemble.runs_of(one)) for one in tuned.folders]
    weighted = None
    if tuned.is_changed and not tuned.left_out:
        runs = zip(tuned.folders, networks, tuned.shares, strict=True)
        weighted = TunedEnsemble(
            runs=tuple(
                WeightedRun(run=locate.run_label(folder), networks=own, weight=share)
                for folder, own, share in runs
            ),
            found=tuned.sentence(),
        )
    keep_tuned_ensemble(tuned.folders, networks, weighted)
