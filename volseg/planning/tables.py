"""A forecast in words: what `volseg train --dry-run` prints and what stands above a planned config."""

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from volseg.formatting import amount, by, duration
from volseg.planning.resource_estimate import Forecast
from volseg.system.hardware import cores

if TYPE_CHECKING:
    from rich.table import Table


def rows(told: Forecast, limit: float | None = None) -> Iterator[tuple[str, str]]:
    """What a training will be and take; `limit` is its --max-time in seconds."""
    course, facts, found = told.config.train, told.scans.facts, told.found
    apart = len(facts.unseen_cases) + len(facts.later_days)
    yield "dataset", f"{facts.dataset}: {', '.join(facts.classes)}"
    yield "scans", f"fold {facts.fold}: {len(facts.train)} to train on, {apart} kept apart"
    yield "network", f"{told.config.network.name}, {found.parameters / 1e6:.2f} million parameters"
    patch = f"{course.batch} of {by(course.patch)}"
    yield (
        "patches",
        f"{patch} a step; one covers {told.coverage:.0%} of a scan of {by(found.shape)}",
    )
    yield "measured", f"{found.steps} steps on {found.device}{busy()}"
    yield "a step", f"{found.step_seconds:.3g} s"
    yield "an epoch", f"{epoch(told)}, {duration(told.validation_seconds)} of it validation"
    yield "the run", run(told, limit)
    yield "memory", memory(told)
    if found.gpu_memory is not None:
        yield "GPU memory", f"{amount(found.gpu_memory)} at the peak"


def table(lines: Iterable[tuple[str, str]]) -> "Table":
    """Names and what is told of them, for a terminal."""
    from rich.table import Table
    from rich.text import Text

    made = Table(show_header=False)
    for name, text in lines:
        made.add_row(name, Text(text))
    return made


def epoch(told: Forecast) -> str:
    """How long an epoch takes."""
    return f"{duration(told.epoch_seconds)} for {told.config.train.epoch_steps} steps"


def run(told: Forecast, limit: float | None) -> str:
    """How long all steps take, or how many there will be within a limit."""
    steps, whole = told.config.train.steps, told.run_seconds
    if limit is None or whole <= limit:
        return f"{duration(whole)} for {steps} steps"
    done = steps * max(0.0, limit - told.start_seconds) / (whole - told.start_seconds)
    return f"{duration(limit)}, as --max-time says: about {done:.0f} of {steps} steps"


def memory(told: Forecast) -> str:
    """The peak of main memory, over all processes, and what of it is scans."""
    processes = f"the training process and {told.workers} that cut patches"
    where = processes if told.workers else "the training process, which cuts its patches itself"
    return f"{amount(told.memory)} at the peak: {where}; {amount(told.scans.cached.all)} are scans"


def busy() -> str:
    """A remark where other programs are at work, since then seconds are too many."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load <= cores() + 1:
        return ""
    return f", beside other programs (load {load:.1f} on {cores()} cores): alone it is faster"
