"""Scans that are unlike those that runs were trained on: told before their masks, flagged in their record."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from volseg.data.preprocessing.intensity_scaling import Intensity
from volseg.data.scan_traits import measure_traits
from volseg.data.volume import Volume
from volseg.errors import UserError
from volseg.formatting import join_names
from volseg.inference.prediction_record import Confidence, Flag, PredictionRecord
from volseg.runs.run import Run
from volseg.runs.run_files import TRAINING_SCANS
from volseg.runs.training_scans import TrainingScans

log = logging.getLogger(__name__)
SIGN, UNLIKE = "outside", "the scan is unlike those of training"
FLAG = Flag(sign=SIGN, text=UNLIKE)


@dataclass(frozen=True)
class TrainingRange:
    """What the training scans of runs that predict together were like, their grey values scaled alike.

    None where one of the runs does not tell it; then `problem` says why.
    """

    scans: TrainingScans | None
    intensity: Intensity
    problem: str = ""

    @classmethod
    def of_runs(cls, runs: Sequence[Run]) -> "TrainingRange":
        """What the training scans of these runs were like; grey values are by the first run's scaling."""
        first = runs[0].config.data.intensity
        joined: TrainingScans | None = None
        for run in runs:
            try:
                own = TrainingScans.read(run.folder)
            except UserError as error:
                problem = f"{str(error).splitlines()[0]}; no scan is compared with training"
                return cls(None, first, problem)
            if own is None:
                return cls(None, first, _missing(str(run.folder)))
            same = run.config.data.intensity == first
            joined = joined.joined(own, same_scaling=same) if joined else own
        return cls(joined, first)

    def check_scan(self, name: str, channels: Sequence[Volume], *, strict: bool = False) -> tuple[str, ...]:
        """In what a scan is unlike those of training, a sentence each, which the log tells as well.

        Raises:
            UserError: it is, and `strict` refuses it; or its voxels are no numbers.
        """
        if self.scans is None:
            return ()
        outside = tuple(self.scans.differences(measure_traits(channels, self.intensity)))
        if outside and strict:
            raise UserError(f"--strict: unlike the scans of training: {'; '.join(outside)}")
        if outside:
            log.warning("%s: unlike the scans of training: %s", name, "; ".join(outside))
        return outside


def _missing(folder: str) -> str:
    return (
        f"{folder}: has no {TRAINING_SCANS}, as it is of an earlier version, so no scan is compared with "
        "those of training; `volseg train ... --resume` writes it"
    )


def outside_fields(fields: Mapping[str, Any], outside: tuple[str, ...]) -> dict[str, Any]:
    """Fields of a record with what is outside of training, for which each class has a flag."""
    confidence = flag_outside(fields.get("confidence", {}), outside)
    return {**fields, "outside": outside, "confidence": confidence}


def flag_outside(confidence: Mapping[str, Confidence], outside: Sequence[str]) -> dict[str, Confidence]:
    """The confidence of each class, with a flag where the scan is outside of training, else without it."""
    flagged = {}
    for name, one in confidence.items():
        others = tuple(flag for flag in one.flags if flag.sign != SIGN)
        flags = (FLAG, *others) if outside else others
        flagged[name] = one.model_copy(update={"flags": flags})
    return flagged


def outside_notes(records: Iterable[PredictionRecord]) -> Iterator[str]:
    """A note for each kind of scans that are unlike those of training."""
    scans: dict[tuple[str, ...], list[str]] = {}
    for record in records:
        if record.status == "done":
            scans.setdefault(record.outside, []).append(record.scan)
    scans.pop((), None)
    for outside, names in scans.items():
        yield f"{join_names(names)}: unlike the scans of training: {'; '.join(outside)}"
