"""`volseg tune`: post-processing for a run, searched on scans that it was not trained on, and its gain."""

import logging
import math
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path

from volseg import __version__
from volseg.arguments import InferArguments
from volseg.errors import UserError
from volseg.evaluation import bootstrap
from volseg.evaluation.bootstrap import Estimate
from volseg.formatting import format_duration
from volseg.inference.out_of_fold import OutOfFoldScans
from volseg.runs.run_files import CALIBRATION
from volseg.tuning import nested_cross_validation
from volseg.tuning.nested_cross_validation import ClassSearch, estimate_gain, mean_score, pool_sums
from volseg.tuning.objectives import OBJECTIVES, ObjectiveName, default_objective
from volseg.tuning.scan_scoring import PredictedScan
from volseg.tuning.search_space import SEARCH_DIMENSIONS, class_pipeline, format_step, merge_pipelines
from volseg.tuning.tables import provenance_lines
from volseg.tuning.trials import TrialRunner
from volseg.tuning.tuning_file import ClassTuning, Gain, TuningFile, TuningRow

log = logging.getLogger(__name__)
Searches = Mapping[str, ClassSearch]


def tune(
    name: str | None,
    data: Path | None,
    *,
    goal: ObjectiveName | None = None,
    max_seconds: float = 600,
    how: InferArguments = InferArguments(),
) -> tuple[OutOfFoldScans, TuningFile]:
    """Search each class's steps on a run's validation scans; write tune.json, and improvements into the run.

    `goal` is by default the competition's score on its data, and Dice on all others.
    A step changes only where its gain is more than its spread over cases; what new cases can expect follows
    from cases that had no part in choosing (`nested_cross_validation`). At most a quarter of the time is for
    predicting; scans for which there is none are left out. Five folds are tuned as one run, each scan
    predicted by the fold that is new to it.

    Raises:
        UserError: a package, another dataset, too few cases, or too little time for a single step.
    """
    begun = time.monotonic()
    validation = OutOfFoldScans.of_run(name, data, "tune")
    require_enough_cases(
        {sample.case for _, sample in validation.scans},
        f"{validation.folder}: was validated on",
        "train with --fold each, which makes every case one",
    )
    steps = validation.members[0].config.postprocess
    predicted = [
        PredictedScan(one.sample, one.maps)
        for one in validation.predict_scans(how, "predicting", max_seconds / 4)
    ]
    starts = {class_name: class_pipeline(steps, class_name) for class_name in validation.dataset.classes}
    goal = goal or default_objective(validation.dataset)
    left = format_duration(max(0.0, begun + max_seconds - time.monotonic()))
    log.info("trying other post-processing on %d scans, for %s at most", len(predicted), left)
    runner = TrialRunner(validation.dataset, predicted, steps, goal, begun + max_seconds).thin_to_time(
        {class_name: SEARCH_DIMENSIONS[0].choices(start) for class_name, start in starts.items()}
    )
    require_enough_cases(runner.cases, f"--max-time {max_seconds:g}s: is enough for", "give more time")
    searches = {
        class_name: ClassSearch(start, len(runner.cases), OBJECTIVES[goal].weights, len(starts))
        for class_name, start in starts.items()
    }
    untried = _search_classes(runner, searches)
    tuning = _build_tuning_file(validation, runner, searches, untried, time.monotonic() - begun)
    if tuning.has_improvements:
        merged = merge_pipelines({class_name: search.pipeline for class_name, search in searches.items()})
        for run in validation.members:
            run.replace_postprocess(merged, list(provenance_lines(tuning)))
    tuning.write(validation.folder)
    return validation, tuning


def require_enough_cases(cases: Collection[str], where: str, remedy: str) -> None:
    """Raise a UserError where there are too few cases to choose by some and judge by others."""
    least = nested_cross_validation.LEAST_CASES
    if len(cases) < least:
        raise UserError(
            f"{where} scans of {len(cases)} case{'s' * (len(cases) != 1)}; choosing and judging apart "
            f"takes {least} at least, and {bootstrap.LEAST_CASES} for an interval; {remedy}"
        )


def _search_classes(runner: TrialRunner, searches: Searches) -> Sequence[str]:
    """Search every class along the dimensions; return the names of those for which no time was left."""
    for number, dimension in enumerate(SEARCH_DIMENSIONS):
        wanted = {name: search.pipelines_to_score(dimension) for name, search in searches.items()}
        tables = runner.score_pipelines(wanted, dimension.name)
        if tables is None and not number:
            raise UserError(
                f"--max-time: too short to try a single step on {len(runner.scans)} scans; give more"
            )
        if tables is None:
            return [untried.name for untried in SEARCH_DIMENSIONS[number:]]
        for name, search in searches.items():
            search.choose(dimension, tables[name])
    return []


def _build_tuning_file(
    validation: OutOfFoldScans,
    runner: TrialRunner,
    searches: Searches,
    untried: Sequence[str],
    seconds: float,
) -> TuningFile:
    """The result of the search as tune.json holds it."""
    weights = OBJECTIVES[runner.goal].weights
    before = pool_sums([search.before for search in searches.values()])
    after = pool_sums([search.after for search in searches.values()])
    if math.isnan(mean_score(before, weights)):
        raise UserError(
            f"{validation.folder}: no validation scan has any of {', '.join(searches)}, labelled or predicted"
        )
    return TuningFile(
        score=runner.goal,
        scans=len(runner.scans),
        cases=len(runner.cases),
        version=__version__,
        date=date.today().isoformat(),
        seconds=round(seconds, 1),
        weights=validation.weights_digests,
        before=mean_score(before, weights),
        after=mean_score(after, weights),
        gain=_gain_from_estimate(estimate_gain(after, before, weights)),
        organs={name: _class_tuning(search) for name, search in searches.items()},
        rows=tuple(_tuning_rows(searches)),
        untried=tuple(untried),
        notes=tuple(_tuning_notes(validation, runner, searches)),
    )


def _class_tuning(search: ClassSearch) -> ClassTuning:
    return ClassTuning(
        before=_none_if_nan(mean_score(search.before, search.weights)),
        after=_none_if_nan(mean_score(search.after, search.weights)),
        gain=_gain_from_estimate(search.gain),
        steps_before=tuple(map(format_step, search.start)),
        steps_after=tuple(map(format_step, search.pipeline)),
    )


def _tuning_rows(searches: Searches) -> Iterator[TuningRow]:
    for name, search in searches.items():
        for result in search.results:
            yield TuningRow(
                organ=name,
                slot=result.dimension.name,
                was=format_step(result.dimension.step_in(result.before)),
                chosen=format_step(result.dimension.step_in(result.after)),
                kept=result.is_improvement,
            )


def _gain_from_estimate(of: Estimate) -> Gain:
    mean, low, high = map(_none_if_nan, (of.mean, of.low, of.high))
    return Gain(mean=mean, low=low, high=high, cases=of.cases)


def _none_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else value


def _tuning_notes(validation: OutOfFoldScans, runner: TrialRunner, searches: Searches) -> Iterator[str]:
    tried, known = len(runner.scans), len(validation.scans)
    if tried < known:
        yield f"there was time for {tried} of {known} validation scans; --max-time gives more"
    first = validation.members[0]
    if any(run.config.postprocess != first.config.postprocess for run in validation.members):
        yield f"the folds had several post-processings; gains are over that of {first.folder}"
    changed = any(result.is_improvement for search in searches.values() for result in search.results)
    if changed and (validation.folder / CALIBRATION).is_file():
        yield f"{CALIBRATION} was found with other masks: run `volseg calibrate` again"
