"""Flags for a class whose volume differs from that on the same case's other days."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

from volseg.formatting import format_ml
from volseg.inference.confidence.calibration_file import ClassCalibration
from volseg.inference.prediction_folder import Confidence, Flag, PredictionRecord

SIGN = "days"


def flag_day_changes(
    records: Sequence[PredictionRecord],
    others: Iterable[PredictionRecord],
    known: Mapping[str, ClassCalibration],
) -> list[PredictionRecord]:
    """The records with flags where a volume changes more between days than it did for any training case.

    Other days are those among the records, `others` and the training labels. Without a calibration, or
    training cases of several days, there are no flags.
    """
    if not known:
        return list(records)
    days = {record.scan: record for record in (*others, *records)}.values()
    flagged = []
    for record in records:
        confidence = {
            name: _flag_class(own, _other_day_volumes(record, name, days, known[name]), known[name])
            for name, own in record.confidence.items()
        }
        flagged.append(record.model_copy(update={"confidence": confidence}))
    return flagged


def _other_day_volumes(
    record: PredictionRecord, name: str, days: Collection[PredictionRecord], organ: ClassCalibration
) -> dict[str, float]:
    """A class's volume in ml on the case's other days, by scan; a training label's before a mask's."""
    cases = {day.scan: day.case or organ.usual.case_of(day.scan) for day in days}
    predicted = {
        day.scan: day.confidence[name].volume_ml
        for day in days
        if name in day.confidence and day.status == "done"
    }
    return {
        other: volume
        for other, volume in {**predicted, **organ.usual.volume_ml}.items()
        if other != record.scan
        and (cases.get(other) or organ.usual.case_of(other)) == cases[record.scan]
        and volume > 0
    }


def _flag_class(confidence: Confidence, volumes: dict[str, float], organ: ClassCalibration) -> Confidence:
    flags = [flag for flag in confidence.flags if flag.sign != SIGN]
    own, usual = confidence.volume_ml, organ.usual.volumes
    most = usual.day_ratio if usual else None
    if volumes and most is not None and own:
        mean = math.exp(sum(map(math.log, volumes.values())) / len(volumes))
        ratio = max(own / mean, mean / own)
        if ratio > most:
            text = (
                f"{format_ml(own)}, on other days {format_ml(mean)}: {ratio:.1f} times "
                f"(training: at most {most:.1f} between two days)"
            )
            flags.append(Flag(sign=SIGN, text=text))
    return confidence.model_copy(update={"flags": tuple(flags)})
