"""An estimate as text: for `volseg train --dry-run` and for the header of a planned config."""

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from volseg.formatting import format_bytes, format_duration, format_size
from volseg.planning.resource_estimate import ResourceEstimate
from volseg.system.hardware import available_cores

if TYPE_CHECKING:
    from rich.table import Table


def estimate_rows(estimate: ResourceEstimate, limit: float | None = None) -> Iterator[tuple[str, str]]:
    """Names and values of a training's data, network, time and memory; `limit` is --max-time in seconds."""
    config, facts, measured = estimate.config, estimate.scans.facts, estimate.measurements
    validation = len(facts.unseen_cases) + len(facts.later_days)
    yield "dataset", f"{facts.dataset}: {', '.join(facts.classes)}"
    yield (
        "scans",
        f"fold {facts.fold}: {len(facts.train) + len(facts.taught)} to train on, {validation} kept apart",
    )
    yield "network", f"{config.network.name}, {measured.parameters / 1e6:.2f} million parameters"
    patch = f"{config.train.batch} of {format_size(config.train.patch)}"
    covered = f"{estimate.patch_coverage:.0%} of a scan of {format_size(measured.shape)}"
    yield "patches", f"{patch} a step; one covers {covered}"
    yield "seconds", source_text(estimate)
    yield "a step", f"{measured.step_seconds:.3g} s"
    yield (
        "an epoch",
        f"{epoch_text(estimate)}, {format_duration(estimate.validation_seconds)} of it validation",
    )
    yield "the run", run_text(estimate, limit)
    yield "memory", memory_text(estimate)
    if estimate.gpu_memory is not None:
        yield "GPU memory", f"{format_bytes(estimate.gpu_memory)} at the peak"


def key_value_table(rows: Iterable[tuple[str, str]]) -> "Table":
    """A table of names and values for a terminal."""
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False)
    for name, text in rows:
        table.add_row(name, Text(text))
    return table


def source_text(estimate: ResourceEstimate) -> str:
    """Where an estimate's seconds and bytes are from."""
    measured = estimate.measurements
    if estimate.is_forecast:
        return f"a forecast for {measured.device}; nothing was measured on it"
    how = f"measured in {measured.steps} steps"
    if not measured.steps:
        how = "reckoned from trials of other patches, since no more of them would end soon,"
    return f"{how} on {measured.device}{busy_note(measured.busy_text)}"


def epoch_text(estimate: ResourceEstimate) -> str:
    """The time and steps of an epoch."""
    return f"{format_duration(estimate.epoch_seconds)} for {estimate.epoch_steps} steps"


def run_text(estimate: ResourceEstimate, limit: float | None) -> str:
    """The time of all steps, or the number of steps within a limit in seconds."""
    steps, total, start = estimate.config.train.steps, estimate.run_seconds, estimate.start_seconds
    if limit is None or total <= limit:
        return f"{format_duration(total)} for {steps} steps"
    done = steps * max(0.0, limit - start) / (total - start)
    return f"{format_duration(limit)}, as --max-time says: about {done:.0f} of {steps} steps"


def memory_text(estimate: ResourceEstimate) -> str:
    """The peak of main memory over all processes, and the cached scans' part of it."""
    scans = format_bytes(estimate.scans.cached.all)
    if estimate.is_forecast:
        return f"main memory is not forecast; {scans} of it are scans"
    return f"{format_bytes(estimate.peak_memory)} at the peak, of which {scans} are scans"


def busy_note(text: str) -> str:
    """A note where other programs use the processor, as `text` or the load tells: seconds are too many."""
    if text:
        return f", beside other programs ({text}): alone it is faster"
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load <= available_cores() + 1:
        return ""
    return f", beside other programs (load {load:.1f} on {available_cores()} cores): alone it is faster"
