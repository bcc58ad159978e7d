"""`volseg tune`: the post-processing that suits a run, found on scans it was not trained on, and its gain."""

import math
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path

from volseg import __version__
from volseg.errors import UserError
from volseg.evaluation import bootstrap
from volseg.evaluation.bootstrap import Estimate
from volseg.inference.ensemble import How
from volseg.inference.out_of_fold import NewScans
from volseg.runs.run_files import CALIBRATION
from volseg.tuning import nested_cross_validation
from volseg.tuning.nested_cross_validation import Course, Judged
from volseg.tuning.objectives import GOALS, GoalName
from volseg.tuning.search_space import SLOTS, Slot, pipeline_of, text, together
from volseg.tuning.tables import sentence
from volseg.tuning.trials import Bench, Predicted
from volseg.tuning.tuning_file import Gain, OrganTuned, Row, Tuned

Courses = Mapping[str, Course]


def tune(
    name: str | None,
    data: Path,
    *,
    goal: GoalName = "kaggle",
    max_seconds: float = 600,
    how: How = How(),
) -> tuple[NewScans, Tuned]:
    """Find each class's steps by a run's validation scans; write tune.json, and what helps into the run.

    What a step is set to is chosen on some cases; whether it is kept, and what it gains, is told by
    others (`crossfit`). At most a quarter of the time goes into predicting; scans for which there is no
    time take no part. A run of five folds is tuned as one, each scan predicted by the fold that is new
    to it.

    Raises:
        UserError: a package, another dataset, too few cases, or too little time for a single step.
    """
    begun = time.monotonic()
    new = NewScans.of(name, data, "tune")
    _refuse_few(
        {sample.case for _, sample in new.scans},
        f"{new.folder}: was validated on",
        "train with --fold each, which makes every case one",
    )
    steps = new.members[0].config.postprocess
    predicted = [
        Predicted(one.sample, one.maps) for one in new.predicted(how, "predicting", max_seconds / 4)
    ]
    bench = Bench(new.dataset, predicted, steps, goal, begun + max_seconds)
    starts = {organ: pipeline_of(steps, organ) for organ in new.dataset.classes}
    bench = bench.thinned({organ: SLOTS[0].choices(start) for organ, start in starts.items()})
    _refuse_few(bench.cases, f"--max-time {max_seconds:g}s: is enough for", "give more time")
    courses = {
        organ: Course(start, len(bench.cases), GOALS[goal].weights)
        for organ, start in starts.items()
    }
    untried = _searched(bench, courses)
    found = _told(new, bench, courses, untried, time.monotonic() - begun)
    if found.changed:
        pipelines = {organ: course.pipeline for organ, course in courses.items()}
        for run in new.members:
            run.replace_postprocess(together(pipelines), list(_comment(found)))
    found.write(new.folder)
    return new, found


def _refuse_few(cases: Collection[str], where: str, instead: str) -> None:
    if len(cases) < nested_cross_validation.LEAST_CASES:
        raise UserError(
            f"{where} scans of {len(cases)} case{'s' * (len(cases) != 1)}; choosing and judging apart "
            f"takes {nested_cross_validation.LEAST_CASES} at least, and {bootstrap.LEAST_CASES} for an interval; {instead}"
        )


def _searched(bench: Bench, courses: Courses) -> list[Slot]:
    """Take every class through the places; those for which no time was left.

    Raises:
        UserError: not even the first could be tried.
    """
    for number, slot in enumerate(SLOTS):
        wanted = {organ: course.wanted(slot) for organ, course in courses.items()}
        tables = bench.tried(wanted, slot.name)
        if tables is None and not number:
            raise UserError(
                f"--max-time: too short to try a single step on {len(bench.scans)} scans; give more"
            )
        if tables is None:
            return list(SLOTS[number:])
        for organ, course in courses.items():
            course.settle(slot, tables[organ])
    return []


def _told(
    new: NewScans, bench: Bench, courses: Courses, untried: Sequence[Slot], seconds: float
) -> Tuned:
    """What was found.

    Raises:
        UserError: nothing that could be measured.
    """
    weights = GOALS[bench.goal].weights
    before, after = (
        nested_cross_validation.pooled([getattr(course, side) for course in courses.values()])
        for side in ("before", "after")
    )
    if math.isnan(nested_cross_validation.mean(before, weights)):
        raise UserError(
            f"{new.folder}: no validation scan has any of {', '.join(courses)}, in truth or prediction"
        )
    return Tuned(
        score=bench.goal,
        scans=len(bench.scans),
        cases=len(bench.cases),
        version=__version__,
        date=date.today().isoformat(),
        seconds=round(seconds, 1),
        weights=new.weights,
        before=nested_cross_validation.mean(before, weights),
        after=nested_cross_validation.mean(after, weights),
        gain=_gain(nested_cross_validation.gain_of(after, before, weights)),
        organs={name: _organ(course) for name, course in courses.items()},
        rows=tuple(_row(name, one) for name, course in courses.items() for one in course.judged),
        untried=tuple(slot.name for slot in untried),
        notes=tuple(_notes(new, bench, courses)),
    )


def _organ(course: Course) -> OrganTuned:
    return OrganTuned(
        before=_known(nested_cross_validation.mean(course.before, course.weights)),
        after=_known(nested_cross_validation.mean(course.after, course.weights)),
        gain=_gain(course.gain),
        steps_before=tuple(map(text, course.start)),
        steps_after=tuple(map(text, course.pipeline)),
    )


def _row(organ: str, one: Judged) -> Row:
    return Row(
        organ=organ,
        slot=one.slot.name,
        was=text(one.slot.of(one.before)),
        chosen=text(one.slot.of(one.after)),
        gain=_gain(one.gain),
        kept=one.kept,
    )


def _gain(of: Estimate) -> Gain:
    return Gain(mean=_known(of.mean), low=_known(of.low), high=_known(of.high), cases=of.cases)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _notes(new: NewScans, bench: Bench, courses: Courses) -> Iterator[str]:
    if len(bench.scans) < len(new.scans):
        yield (
            f"there was time for {len(bench.scans)} of {len(new.scans)} validation scans; --max-time gives "
            "more"
        )
    first = new.members[0]
    if any(run.config.postprocess != first.config.postprocess for run in new.members):
        yield f"the folds had several post-processings; gains are over that of {first.folder}"
    changed = any(one.kept for course in courses.values() for one in course.judged)
    if changed and (new.folder / CALIBRATION).is_file():
        yield f"{CALIBRATION} was found with other masks: run `volseg calibrate` again"


def _comment(found: Tuned) -> Iterator[str]:
    """What postprocess.yaml says of where its steps come from."""
    yield f"By volseg tune {found.version} on {found.date}:"
    yield sentence(found)
