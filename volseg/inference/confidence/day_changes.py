"""An organ's volume against the same case's other days: judged once all scans of a case are predicted."""

import math
from collections.abc import Iterable, Sequence

from volseg.data.splits import case_of
from volseg.formatting import format_ml
from volseg.inference.confidence.calibration_file import Organ
from volseg.inference.prediction_folder import Confidence, Flag, PredictionRecord

SIGN = "days"


def flag_day_changes(
    records: Sequence[PredictionRecord], others: Iterable[PredictionRecord], known: dict[str, Organ] | None
) -> list[PredictionRecord]:
    """The records, judged beside those of their cases' other days (`others`) and training's.

    What training never saw is a larger change between two days than any case of its own had, so
    without a calibration, or cases of several days, nothing is said.
    """
    if known is None:
        return list(records)
    days = {record.scan: record for record in (*others, *records)}
    return [_flag_record(record, list(days.values()), known) for record in records]


def _flag_record(
    record: PredictionRecord, days: Sequence[PredictionRecord], known: dict[str, Organ]
) -> PredictionRecord:
    found = {
        name: _flag_class(confidence, _other_day_volumes(record.scan, name, days, known[name]), known[name])
        for name, confidence in record.confidence.items()
    }
    return record.model_copy(update={"confidence": found})


def _other_day_volumes(
    scan: str, name: str, days: Sequence[PredictionRecord], organ: Organ
) -> dict[str, float]:
    """The organ's volume in ml on the case's other days, by scan; an approved label's before a mask's."""
    found = {
        day.scan: day.confidence[name].volume_ml
        for day in days
        if name in day.confidence and day.status == "done"
    }
    return {
        other: volume
        for other, volume in {**found, **organ.usual.volume_ml}.items()
        if other != scan and case_of(other) == case_of(scan) and volume > 0
    }


def _flag_class(told: Confidence, volumes: dict[str, float], organ: Organ) -> Confidence:
    flags = [flag for flag in told.flags if flag.sign != SIGN]
    most = organ.usual.largest_volume_ratio
    if volumes and most is not None and told.volume_ml:
        mean = math.exp(sum(map(math.log, volumes.values())) / len(volumes))
        times = max(told.volume_ml / mean, mean / told.volume_ml)
        if times > most:
            text = (
                f"{format_ml(told.volume_ml)}, on other days {format_ml(mean)}: {times:.1f} times "
                f"(training: at most {most:.1f} between two days)"
            )
            flags.append(Flag(sign=SIGN, text=text))
    return told.model_copy(update={"flags": tuple(flags)})
