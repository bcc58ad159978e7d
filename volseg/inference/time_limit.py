"""Prediction of all scans within a time: by fewer mirrored views, then fewer networks, as it runs out."""

import hashlib
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from volseg.arguments import InferArguments
from volseg.formatting import format_duration
from volseg.inference.confidence.calibration_file import KnownClasses
from volseg.inference.confidence.dice_estimate import MEASURE
from volseg.inference.ensemble import LoadedEnsemble
from volseg.inference.scan_sources import ScanSource

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Effort:
    """What a scan is predicted by; `reduced` says what is left out of the networks and views, or ''."""

    loaded: LoadedEnsemble
    known_classes: KnownClasses
    reduced: str = ""

    @classmethod
    def of(cls, loaded: LoadedEnsemble, reduced: str = "") -> "Effort":
        """The effort of all networks and views that are loaded."""
        known = KnownClasses.of_ensemble(loaded.ensemble, loaded.predictor.views)
        return cls(loaded, known, reduced)

    @property
    def passes(self) -> int:
        """How often a scan is passed through a network."""
        return sum(member.inference.views for member in self.loaded.predictor.all_members)

    def prediction_key(self, image: str, options: InferArguments) -> str:
        """SHA-256 of the JSON of all that a scan's masks and record depend on; `image` is its digest."""
        known = self.known_classes
        calibration = {name: organ.model_dump() for name, organ in known.organs.items()} or None
        inputs = {
            "image": image,
            "settings": self.loaded.settings,
            "probabilities": options.save_probabilities,
            "calibration": [calibration, known.problem] if known.problem else calibration,
            "confidence": MEASURE,
        }
        return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def possible_efforts(loaded: LoadedEnsemble) -> tuple[Effort, ...]:
    """All networks and views, then half the views down to one, then one network less each time."""
    networks, views = len(loaded.networks), loaded.predictor.views
    axes = max(len(run.config.inference.flips) for run in loaded.runs)
    steps = [(networks, count) for count in reversed(range(axes))]
    steps += [(count, 0) for count in reversed(range(1, networks))]
    efforts = [Effort.of(loaded)]
    for count, flips in steps:
        parts = [f"{count} of {networks} networks"] if networks > 1 else []
        parts += [f"{2**flips} of {views} views"] if views > 1 else []
        efforts.append(Effort.of(loaded.reduced(count, flips), " and ".join(parts)))
    return tuple(efforts)


@dataclass
class TimeLimit:
    """The effort that the time left allows, found by the seconds that a voxel took in each pass so far.

    `start` is a time of `time.monotonic`; `seconds` is the time for all scans. The first scan that is
    predicted gets the full effort.
    """

    efforts: Sequence[Effort]
    sources: Sequence[ScanSource]
    start: float
    seconds: float
    _done: float = field(default=0.0, init=False)
    _spent: float = field(default=0.0, init=False)
    _begun: tuple[float, float] | None = field(default=None, init=False)
    _told: set[str] = field(default_factory=lambda: {""}, init=False)

    def choose(self, source: ScanSource) -> Effort:
        """The effort for a scan that is to be predicted now: the most at which all that are left are in time.

        Where no effort would do, it is the least.
        """
        now = time.monotonic()
        if self._begun:
            self._spent += now - self._begun[0]
            self._done += self._begun[1]
        left = sum(other.voxels for other in self.sources[self.sources.index(source) :])
        rate = self._spent / self._done if self._done else 0.0
        time_left = self.start + self.seconds - now
        chosen = next(
            (effort for effort in self.efforts if rate * left * effort.passes <= time_left), self.efforts[-1]
        )
        self._begun = now, source.voxels * chosen.passes
        if chosen.reduced not in self._told:
            self._told.add(chosen.reduced)
            log.warning("%s, as others may be: by %s, to keep --max-time", source.name, chosen.reduced)
        return chosen

    def lateness(self) -> str:
        """By how much the time was exceeded until now, as a note, or ''."""
        took = time.monotonic() - self.start
        if took <= self.seconds:
            return ""
        late = format_duration(took - self.seconds)
        return f"took {format_duration(took)}, {late} longer than --max-time; no scan was left out"
