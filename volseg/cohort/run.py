"""The scans of a cohort by the engine that the options name; the results come as they are made.

What is done is told by the records that the work itself writes: no engine remembers anything.
"""

from collections.abc import Generator, Sequence
from contextlib import closing
from typing import TypeVar

from volseg.arguments import CohortArguments
from volseg.cohort.events import EventLog
from volseg.cohort.reporter import Reporter
from volseg.cohort.sight import progress, unseen
from volseg.cohort.work import Work

Item = TypeVar("Item")
Result = TypeVar("Result")


def run(
    work: Work[Item, Result],
    items: Sequence[Item],
    cohort: CohortArguments = CohortArguments(),
    *,
    shown: bool = True,
) -> Generator[tuple[int, Result], None, None]:
    """Yield position and result of each scan as soon as it is finished.

    It is `shown` on the terminal, unless who calls shows it.

    Raises:
        UserError: the cluster can't be reached or does not fit, or it was lost; what is done stays done.
    """
    shared = cohort.on is not None and bool(items)
    sight_of = progress if shown or shared else unseen
    with EventLog(cohort.events, work.label) as events, sight_of(work.label, len(items), on=shared) as sight:
        reporter = Reporter(events, sight)
        results = _on_ray(work, items, cohort, reporter) if shared else _here(work, items, reporter)
        with closing(results):
            yield from results
        events.write("end")


def _here(
    work: Work[Item, Result], items: Sequence[Item], reporter: Reporter
) -> Generator[tuple[int, Result], None, None]:
    """The work in this process and its own."""
    for position, result in work.here(items, lambda item: reporter.begin(work.name(item))):
        reporter.end(work.name(items[position]), work.problem(result))
        yield position, result


def _on_ray(
    work: Work[Item, Result], items: Sequence[Item], cohort: CohortArguments, reporter: Reporter
) -> Generator[tuple[int, Result], None, None]:
    """The work on a cluster; only here is Ray loaded."""
    from volseg.cohort.ray_connection import connected

    with connected(cohort.on or "") as cluster:
        from volseg.cohort.ray_engine import RayEngine

        yield from RayEngine(work, items, cluster, reporter).results()
