"""Trials of designs, one after the other and within a bounded time: which of them fit."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from volseg.arguments import PlanArguments
from volseg.config.config import Config, validate_values
from volseg.errors import UserError
from volseg.formatting import format_bytes
from volseg.planning.design_search import (
    ENOUGH,
    TRIALS,
    ResourceUse,
    UseLine,
    first_to_try,
    guess_largest,
    largest_fitting,
)
from volseg.planning.network_design import NetworkDesign
from volseg.planning.reckoning import reckon_estimate
from volseg.planning.resource_estimate import (
    ResourceEstimate,
    TrialTooLargeError,
    TrialTooSlowError,
    estimate_resources,
)
from volseg.schema import Spacing

log = logging.getLogger(__name__)
ROOM = 0.9  # share of the memory that a trial may use; training may need more than its first few steps
STEP_SECONDS = 1.0
"""Seconds of a step at most on an idle CPU, where more steps are worth more than a larger patch."""
SLOW = 5.0
"""Times STEP_SECONDS from which on a trial is the last: others are reckoned, as they would take too long."""
TRIAL_SECONDS, SEARCH_SECONDS, LAST_SECONDS, BUSY_SECONDS = 120.0, 150.0, 90.0, 300.0
"""Seconds of a trial and of all trials at most, after which what fits is taken.

Where nothing fits, the smallest design has LAST_SECONDS in any case, and BUSY_SECONDS more where that was too
little since other programs had the processor: a late plan is better than none.
"""


@dataclass(frozen=True)
class TrainingBudget:
    """Limits of a training: bytes (of the GPU's memory where there is one) and seconds (None: no limit)."""

    memory: int
    description: str
    seconds: float | None
    gpu: bool


Estimator = Callable[[Config, float], ResourceEstimate]
"""Tells what a config takes, within some seconds; raises TrialTooLargeError or TrialTooSlowError else."""


def trial_estimator(options: PlanArguments, budget: TrainingBudget) -> Estimator:
    """Estimates by a trial of a few steps on this machine."""

    def estimate(config: Config, seconds: float) -> ResourceEstimate:
        return estimate_resources(
            config,
            options.data,
            device=options.device,
            limit=None if budget.gpu else budget.memory,  # a GPU limits its memory itself
            seconds=seconds,
        )

    return estimate


@dataclass(frozen=True)
class Trial:
    """What a design uses, and the estimate; None where it was too large or too slow to be tried.

    `busy_text` says how other programs held it up, if they did.
    """

    use: ResourceUse
    estimate: ResourceEstimate | None = None
    busy_text: str = ""


@dataclass
class DesignTrials:
    """Trials of designs on one grid or several: TRIALS of them at most, in a time that is bounded.

    They take at most SEARCH_SECONDS, and where nothing fits LAST_SECONDS and BUSY_SECONDS more.

    `points` has voxels of a batch and what they use, of all trials; `seconds` those of a step.
    """

    estimator: Estimator
    network: str
    budget: TrainingBudget
    points: list[tuple[int, ResourceUse]] = field(default_factory=list)
    seconds: list[tuple[int, float]] = field(default_factory=list)
    _trials: dict[tuple[Spacing | None, NetworkDesign], Trial] = field(default_factory=dict)
    _end: float = math.inf

    def measure_steps(self, base: Config, designs: Sequence[NetworkDesign]) -> None:
        """Try a small one of designs (from large to small), and one that should use most of the limits."""
        voxels = [design.batch_voxels for design in designs]
        small = first_to_try(voxels)
        if self._try(base, designs[small]).use.tighter_share < ENOUGH and not self._is_over():
            large = guess_largest(voxels, self.points)
            if large < small:
                self._try(base, designs[large])
        busy = [text for trial in self._trials.values() if (text := trial.busy_text)]
        if not busy and self.seconds != sorted(self.seconds, key=lambda point: point[1]):
            busy = ["more voxels took less time"]
        if busy:
            log.info(
                "note: other programs use this machine: %s; so times are rough and the patch may be smaller "
                "than it could be: end them and plan again",
                busy[0],
            )

    def guess_design(self, designs: Sequence[NetworkDesign]) -> NetworkDesign:
        """The largest design that will fit, by the trials so far, on whatever grid they were."""
        return designs[guess_largest([design.batch_voxels for design in designs], self.points)]

    def step_seconds(self, design: NetworkDesign) -> float | None:
        """Seconds of a step of a design, by its voxels and the trials so far; None if none was measured."""
        return UseLine.through(self.seconds).value_at(design.batch_voxels) if self.seconds else None

    def choose_largest(self, base: Config, designs: Sequence[NetworkDesign]) -> ResourceEstimate:
        """The estimate of the largest design that fits, of some from large to small, found in few trials.

        Raises:
            UserError: none fits.
        """
        voxels = [design.batch_voxels for design in designs]
        keys = [(base.data.spacing_mm, design) for design in designs]
        known = {i: self._trials[key].use for i, key in enumerate(keys) if key in self._trials}
        number = largest_fitting(
            voxels,
            lambda number: self._try(base, designs[number], last=number == len(designs) - 1).use,
            is_over=self._is_over,
            first=self._first_to_try(voxels),
            known=known,
            trials=TRIALS - len(self._trials) + len(known),
        )
        if number is None:
            smallest = self._try(base, designs[-1]).estimate
            raise UserError(self._nothing_fits_message(designs[-1], smallest))
        return self._try(base, designs[number]).estimate or self._try_for_long(base, designs[number])

    def _try_for_long(self, base: Config, design: NetworkDesign) -> ResourceEstimate:
        """The estimate of a design that was too slow to be tried, where other programs were in its way.

        Raises:
            UserError: they were not, or it was too slow again.
        """
        seconds, trial = SEARCH_SECONDS + LAST_SECONDS, self._trials[base.data.spacing_mm, design]
        if trial.busy_text:
            log.info("note: %s is tried once more, for %.0f s at most", design, BUSY_SECONDS)
            seconds, trial = seconds + BUSY_SECONDS, self._make_trial(base, design, BUSY_SECONDS)
        if trial.estimate is None:
            raise UserError(
                f"--network {self.network}: even {design} could not be tried within the {seconds:.0f} s that "
                "trials may take; end other programs on this machine, or choose another --network"
            )
        return trial.estimate

    def _first_to_try(self, voxels: Sequence[int]) -> int | None:
        """The design to begin with, by the trials so far: the smallest after one that was too slow."""
        if any(math.isinf(used.time) for _, used in self.points):
            return len(voxels) - 1
        return guess_largest(voxels, self.points) if self.points else None

    def _is_over(self) -> bool:
        return time.monotonic() > self._end

    def _is_slow(self) -> bool:
        """Whether steps took so long that no more designs are tried."""
        return any(SLOW < used.time < math.inf for _, used in self.points)

    def _try(self, base: Config, design: NetworkDesign, *, last: bool = False) -> Trial:
        """A design on the grid of `base`, tried once; what it takes is logged.

        `last`: nothing else is left to try, so it has LAST_SECONDS whatever others took.
        """
        key = base.data.spacing_mm, design
        unwanted = key not in self._trials and (self._is_over() or self._is_slow())
        if unwanted and (reckoned := self._reckon(base, design)):
            self._trials[key] = reckoned
        if key not in self._trials:
            if not self._trials:
                self._end = time.monotonic() + SEARCH_SECONDS
            log.info("trial %d of at most %d: %s", len(self._trials) + 1, TRIALS, design)
            left = max(self._end - time.monotonic(), LAST_SECONDS if last else 0.0)
            self._trials[key] = self._make_trial(base, design, min(TRIAL_SECONDS, left))
            self.points.append((design.batch_voxels, self._trials[key].use))
        return self._trials[key]

    def _make_trial(self, base: Config, design: NetworkDesign, seconds: float) -> Trial:
        try:
            estimate = self.estimator(design_config(base, design), seconds)
        except TrialTooLargeError:
            log.info("%s: more than %s", design, format_bytes(self.budget.memory))
            return Trial(ResourceUse(math.inf))
        except TrialTooSlowError as slow:
            log.info("%s: not tried within %.0f s, so it is too slow", design, seconds)
            busy = "" if self.budget.gpu else slow.busy_text(seconds)  # on a GPU, the processor waits
            return self._reckon(base, design) or Trial(ResourceUse(0.0, math.inf), busy_text=busy)
        alone = estimate.measurements.alone_seconds
        self.seconds.append((design.batch_voxels, alone))
        memory = format_bytes(estimate.budgeted_memory)
        log.info("%s: %s, %.2g s a step", design, memory, estimate.measurements.step_seconds)
        return Trial(self._use_of(estimate), estimate, estimate.measurements.busy_text)

    def _use_of(self, estimate: ResourceEstimate) -> ResourceUse:
        slow = 0.0 if self.budget.gpu else estimate.measurements.alone_seconds / STEP_SECONDS
        return ResourceUse(estimate.budgeted_memory / (ROOM * self.budget.memory), slow)

    def _reckon(self, base: Config, design: NetworkDesign) -> Trial | None:
        """A design that other programs leave no time to try, by earlier trials; None unless it fits."""
        tried = [trial.estimate for trial in self._trials.values() if trial.estimate]
        if self.budget.gpu or not tried:
            return None
        estimate = reckon_estimate(design_config(base, design), tried)
        if self._use_of(estimate).tighter_share > 1:
            return None
        seconds = estimate.measurements.step_seconds
        log.info("note: %s is not tried, as that would take long: reckoned at %.2g s a step", design, seconds)
        return Trial(self._use_of(estimate), estimate)

    def _nothing_fits_message(self, smallest: NetworkDesign, estimate: ResourceEstimate | None) -> str:
        """Why even the smallest design, which was tried last, is not taken."""
        budget = format_bytes(self.budget.memory)
        needs, least = f"takes more than {budget}", "allow more"
        if estimate:
            scans = format_bytes(estimate.scans.cached.all)
            needs = f"takes {format_bytes(estimate.budgeted_memory)}, {scans} of it for the scans"
            least = f"allow {format_bytes(estimate.budgeted_memory / ROOM)}"
        too_little = f"--max-memory: {budget} is too little: even {smallest} {needs}"
        return f"{too_little}; {least} or choose another --network"


def design_config(base: Config, design: NetworkDesign) -> Config:
    """A config with the network, patch and batch of a design."""
    settings = base.train.model_copy(update={"patch": design.patch, "batch": design.batch})
    window = base.inference.model_copy(update={"window": design.patch})
    update = {"network": design.network, "train": settings, "inference": window}
    return validate_values(base.model_copy(update=update).to_values(), "plan")
