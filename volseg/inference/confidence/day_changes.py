"""Flags for a class whose volume differs from that on the same case's other days."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from volseg.formatting import format_ml
from volseg.inference.confidence.calibration_file import ClassCalibration
from volseg.inference.prediction_record import Confidence, Flag, PredictionRecord

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
    classes = {name: _KnownVolumes.of_class(name, days, organ) for name, organ in known.items()}
    flagged = []
    for record in records:
        confidence = {name: classes[name].flag(own, record.scan) for name, own in record.confidence.items()}
        flagged.append(record.model_copy(update={"confidence": confidence}))
    return flagged


@dataclass(frozen=True)
class _KnownVolumes:
    """A class's volumes in ml by case and scan, a training label's before a mask's; the case of each scan.

    `most` is the largest ratio of two days of a training case.
    """

    by_case: Mapping[str, Mapping[str, float]]
    cases: Mapping[str, str]
    most: float | None

    @classmethod
    def of_class(
        cls, name: str, days: Collection[PredictionRecord], organ: ClassCalibration
    ) -> "_KnownVolumes":
        """The volumes of a class on all days, each scan looked at once: there may be very many."""
        usual = organ.usual
        cases = {day.scan: day.case or usual.case_of(day.scan) for day in days}
        predicted = {
            day.scan: day.confidence[name].volume_ml
            for day in days
            if name in day.confidence and day.status == "done"
        }
        by_case: dict[str, dict[str, float]] = {}
        for scan, volume in {**predicted, **usual.volume_ml}.items():
            if volume > 0:
                by_case.setdefault(cases.get(scan) or usual.case_of(scan), {})[scan] = volume
        return cls(by_case, cases, usual.volumes.day_ratio if usual.volumes else None)

    def flag(self, confidence: Confidence, scan: str) -> Confidence:
        """The confidence in a scan's mask, with a flag where its volume differs from that on other days."""
        flags = [flag for flag in confidence.flags if flag.sign != SIGN]
        case = self.by_case.get(self.cases[scan], {})
        volumes = [volume for other, volume in case.items() if other != scan]
        own = confidence.volume_ml
        if volumes and self.most is not None and own:
            mean = math.exp(sum(map(math.log, volumes)) / len(volumes))
            ratio = max(own / mean, mean / own)
            if ratio > self.most:
                text = (
                    f"{format_ml(own)}, on other days {format_ml(mean)}: {ratio:.1f} times "
                    f"(training: at most {self.most:.1f} between two days)"
                )
                flags.append(Flag(sign=SIGN, text=text))
        return confidence.model_copy(update={"flags": tuple(flags)})
