"""A forecast in words: what `volseg train --dry-run` prints and what stands above a planned config."""

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from volseg.formatting import format_bytes, format_duration, format_size
from volseg.planning.resource_estimate import ResourceEstimate
from volseg.system.hardware import available_cores

if TYPE_CHECKING:
    from rich.table import Table


def estimate_rows(told: ResourceEstimate, limit: float | None = None) -> Iterator[tuple[str, str]]:
    """What a training will be and take; `limit` is its --max-time in seconds."""
    course, facts, found = told.config.train, told.scans.facts, told.measurements
    apart = len(facts.unseen_cases) + len(facts.later_days)
    yield "dataset", f"{facts.dataset}: {', '.join(facts.classes)}"
    yield "scans", f"fold {facts.fold}: {len(facts.train)} to train on, {apart} kept apart"
    yield "network", f"{told.config.network.name}, {found.parameters / 1e6:.2f} million parameters"
    patch = f"{course.batch} of {format_size(course.patch)}"
    yield (
        "patches",
        f"{patch} a step; one covers {told.patch_coverage:.0%} of a scan of {format_size(found.shape)}",
    )
    yield "measured", f"{found.steps} steps on {found.device}{busy_note()}"
    yield "a step", f"{found.step_seconds:.3g} s"
    yield ("an epoch", f"{epoch_text(told)}, {format_duration(told.validation_seconds)} of it validation")
    yield "the run", run_text(told, limit)
    yield "memory", memory_text(told)
    if found.gpu_memory is not None:
        yield "GPU memory", f"{format_bytes(found.gpu_memory)} at the peak"


def key_value_table(lines: Iterable[tuple[str, str]]) -> "Table":
    """Names and what is told of them, for a terminal."""
    from rich.table import Table
    from rich.text import Text

    made = Table(show_header=False)
    for name, text in lines:
        made.add_row(name, Text(text))
    return made


def epoch_text(told: ResourceEstimate) -> str:
    """How long an epoch takes."""
    return f"{format_duration(told.epoch_seconds)} for {told.config.train.epoch_steps} steps"


def run_text(told: ResourceEstimate, limit: float | None) -> str:
    """How long all steps take, or how many there will be within a limit."""
    steps, whole = told.config.train.steps, told.run_seconds
    if limit is None or whole <= limit:
        return f"{format_duration(whole)} for {steps} steps"
    done = steps * max(0.0, limit - told.start_seconds) / (whole - told.start_seconds)
    return f"{format_duration(limit)}, as --max-time says: about {done:.0f} of {steps} steps"


def memory_text(told: ResourceEstimate) -> str:
    """The peak of main memory, over all processes, and what of it is scans."""
    processes = f"the training process and {told.workers} that cut patches"
    where = processes if told.workers else "the training process, which cuts its patches itself"
    return f"{format_bytes(told.peak_memory)} at the peak: {where}; {format_bytes(told.scans.cached.all)} are scans"


def busy_note() -> str:
    """A remark where other programs are at work, since then seconds are too many."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load <= available_cores() + 1:
        return ""
    return f", beside other programs (load {load:.1f} on {available_cores()} cores): alone it is faster"
