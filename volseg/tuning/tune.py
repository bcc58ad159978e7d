"""`volseg tune`: the post-processing that suits a run, found on scans it was not trained on, and its gain."""

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
from volseg.inference.out_of_fold import OutOfFoldScans
from volseg.runs.run_files import CALIBRATION
from volseg.tuning import nested_cross_validation
from volseg.tuning.nested_cross_validation import ClassSearch, SearchResult
from volseg.tuning.objectives import OBJECTIVES, ObjectiveName
from volseg.tuning.search_space import (
    SEARCH_DIMENSIONS,
    SearchDimension,
    class_pipeline,
    format_step,
    merge_pipelines,
)
from volseg.tuning.tables import gain_sentence
from volseg.tuning.trials import PredictedScan, TrialRunner
from volseg.tuning.tuning_file import ClassTuning, Gain, TuningFile, TuningRow

Courses = Mapping[str, ClassSearch]


def tune(
    name: str | None,
    data: Path,
    *,
    goal: ObjectiveName = "kaggle",
    max_seconds: float = 600,
    how: InferArguments = InferArguments(),
) -> tuple[OutOfFoldScans, TuningFile]:
    """Find each class's steps by a run's validation scans; write tune.json, and what helps into the run.

    What a step is set to is chosen on some cases; whether it is kept, and what it gains, is told by
    others (`crossfit`). At most a quarter of the time goes into predicting; scans for which there is no
    time take no part. A run of five folds is tuned as one, each scan predicted by the fold that is new
    to it.

    Raises:
        UserError: a package, another dataset, too few cases, or too little time for a single step.
    """
    begun = time.monotonic()
    new = OutOfFoldScans.of_run(name, data, "tune")
    _require_enough_cases(
        {sample.case for _, sample in new.scans},
        f"{new.folder}: was validated on",
        "train with --fold each, which makes every case one",
    )
    steps = new.members[0].config.postprocess
    predicted = [
        PredictedScan(one.sample, one.maps) for one in new.predict_scans(how, "predicting", max_seconds / 4)
    ]
    bench = TrialRunner(new.dataset, predicted, steps, goal, begun + max_seconds)
    starts = {organ: class_pipeline(steps, organ) for organ in new.dataset.classes}
    bench = bench.thin_to_time(
        {organ: SEARCH_DIMENSIONS[0].choices(start) for organ, start in starts.items()}
    )
    _require_enough_cases(bench.cases, f"--max-time {max_seconds:g}s: is enough for", "give more time")
    courses = {
        organ: ClassSearch(start, len(bench.cases), OBJECTIVES[goal].weights)
        for organ, start in starts.items()
    }
    untried = _search_classes(bench, courses)
    found = _build_tuning_file(new, bench, courses, untried, time.monotonic() - begun)
    if found.has_improvements:
        pipelines = {organ: course.pipeline for organ, course in courses.items()}
        for run in new.members:
            run.replace_postprocess(merge_pipelines(pipelines), list(_provenance_comment(found)))
    found.write(new.folder)
    return new, found


def _require_enough_cases(cases: Collection[str], where: str, instead: str) -> None:
    if len(cases) < nested_cross_validation.LEAST_CASES:
        raise UserError(
            f"{where} scans of {len(cases)} case{'s' * (len(cases) != 1)}; choosing and judging apart "
            f"takes {nested_cross_validation.LEAST_CASES} at least, and {bootstrap.LEAST_CASES} for an interval; {instead}"
        )


def _search_classes(bench: TrialRunner, courses: Courses) -> list[SearchDimension]:
    """Take every class through the places; those for which no time was left.

    Raises:
        UserError: not even the first could be tried.
    """
    for number, slot in enumerate(SEARCH_DIMENSIONS):
        wanted = {organ: course.pipelines_to_score(slot) for organ, course in courses.items()}
        tables = bench.score_pipelines(wanted, slot.name)
        if tables is None and not number:
            raise UserError(
                f"--max-time: too short to try a single step on {len(bench.scans)} scans; give more"
            )
        if tables is None:
            return list(SEARCH_DIMENSIONS[number:])
        for organ, course in courses.items():
            course.choose(slot, tables[organ])
    return []


def _build_tuning_file(
    new: OutOfFoldScans,
    bench: TrialRunner,
    courses: Courses,
    untried: Sequence[SearchDimension],
    seconds: float,
) -> TuningFile:
    """What was found.

    Raises:
        UserError: nothing that could be measured.
    """
    weights = OBJECTIVES[bench.goal].weights
    before, after = (
        nested_cross_validation.pool_sums([getattr(course, side) for course in courses.values()])
        for side in ("before", "after")
    )
    if math.isnan(nested_cross_validation.mean_score(before, weights)):
        raise UserError(
            f"{new.folder}: no validation scan has any of {', '.join(courses)}, in truth or prediction"
        )
    return TuningFile(
        score=bench.goal,
        scans=len(bench.scans),
        cases=len(bench.cases),
        version=__version__,
        date=date.today().isoformat(),
        seconds=round(seconds, 1),
        weights=new.weights_digests,
        before=nested_cross_validation.mean_score(before, weights),
        after=nested_cross_validation.mean_score(after, weights),
        gain=_gain_from_estimate(nested_cross_validation.estimate_gain(after, before, weights)),
        organs={name: _class_tuning(course) for name, course in courses.items()},
        rows=tuple(_tuning_row(name, one) for name, course in courses.items() for one in course.results),
        untried=tuple(slot.name for slot in untried),
        notes=tuple(_tuning_notes(new, bench, courses)),
    )


def _class_tuning(course: ClassSearch) -> ClassTuning:
    return ClassTuning(
        before=_none_if_nan(nested_cross_validation.mean_score(course.before, course.weights)),
        after=_none_if_nan(nested_cross_validation.mean_score(course.after, course.weights)),
        gain=_gain_from_estimate(course.gain),
        steps_before=tuple(map(format_step, course.start)),
        steps_after=tuple(map(format_step, course.pipeline)),
    )


def _tuning_row(organ: str, one: SearchResult) -> TuningRow:
    return TuningRow(
        organ=organ,
        slot=one.dimension.name,
        was=format_step(one.dimension.step_in(one.before)),
        chosen=format_step(one.dimension.step_in(one.after)),
        gain=_gain_from_estimate(one.gain),
        kept=one.is_improvement,
    )


def _gain_from_estimate(of: Estimate) -> Gain:
    return Gain(
        mean=_none_if_nan(of.mean), low=_none_if_nan(of.low), high=_none_if_nan(of.high), cases=of.cases
    )


def _none_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else value


def _tuning_notes(new: OutOfFoldScans, bench: TrialRunner, courses: Courses) -> Iterator[str]:
    if len(bench.scans) < len(new.scans):
        yield (
            f"there was time for {len(bench.scans)} of {len(new.scans)} validation scans; --max-time gives "
            "more"
        )
    first = new.members[0]
    if any(run.config.postprocess != first.config.postprocess for run in new.members):
        yield f"the folds had several post-processings; gains are over that of {first.folder}"
    changed = any(one.is_improvement for course in courses.values() for one in course.results)
    if changed and (new.folder / CALIBRATION).is_file():
        yield f"{CALIBRATION} was found with other masks: run `volseg calibrate` again"


def _provenance_comment(found: TuningFile) -> Iterator[str]:
    """What postprocess.yaml says of where its steps come from."""
    yield f"By volseg tune {found.version} on {found.date}:"
    yield gain_sentence(found)
