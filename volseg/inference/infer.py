"""`volseg infer`: from runs and scans to masks on each scan's native grid."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from volseg import console
from volseg.errors import UserError
from volseg.inference import prediction_folder
from volseg.inference.confidence.day_changes import across_days
from volseg.inference.ensemble import Ensemble
from volseg.inference.prediction_folder import Record
from volseg.inference.scan_pipeline import Maker, log
from volseg.inference.scan_sources import Wanted, sources
from volseg.system import processes


@dataclass(frozen=True)
class Inferred:
    """What became of each scan, where the masks lie, and by what they are."""

    by: Ensemble
    out: Path
    records: tuple[Record, ...]
    notes: tuple[str, ...]

    @property
    def failed(self) -> tuple[Record, ...]:
        """The scans without masks."""
        return tuple(record for record in self.records if record.status == "failed")


def infer(wanted: Wanted) -> Inferred:
    """Predict the scans asked for, the models loaded once; a scan that fails leaves the others alone.

    A scan whose masks were made from the same image, weights and settings is not done again. While one
    is predicted, the next is read and the last one is cleaned and written.

    Raises:
        UserError: nothing to predict, runs that don't fit, a full disk, or every scan failed.
    """
    by = Ensemble.open(wanted.runs)
    by = by.first if wanted.how.fast else by
    planned = sources(wanted, by)
    maker = Maker.of(by, wanted)
    network, reason = maker.loaded.predictor.members[0].network, maker.loaded.reason
    log.info("%s by %s (%s): %d scans", by, network, reason, len(planned))
    records = []
    with console.progress("predicting") as report:
        line = processes.overlapped(
            planned, maker.read, maker.predict, maker.finish, beside=maker.has_room_beside
        )
        for record in line:
            records.append(record)
            report(len(records), len(planned), record.scan)
    records = _beside_other_days(records, maker)
    prediction_folder.gather(wanted.out)
    if all(record.status == "failed" for record in records):
        raise UserError.of(f"{record.scan}: {record.reason}" for record in records)
    return Inferred(by, wanted.out, tuple(records), (*by.notes(), *_notes(records, by)))


def _beside_other_days(records: Sequence[Record], maker: "Maker") -> list[Record]:
    """The records with what only shows beside other days, in the files too."""
    judged = across_days(records, prediction_folder.kept(maker.out), maker.known)
    for old, new in zip(records, judged, strict=True):
        if old != new:
            prediction_folder.write(new, maker.out / new.scan)
    return judged


def _notes(records: Sequence[Record], by: Ensemble) -> Iterator[str]:
    """Warn where training saw what was predicted: such masks say nothing about new patients."""
    for seen, text in (
        ("scan", "was itself trained on"),
        ("case", "is another day of a case that was trained on"),
    ):
        names = [record.scan for record in records if record.seen == seen]
        if names:
            who = by.name if len(by.runs) == 1 else f"one or more of {by.name}"
            yield f"{', '.join(names)}: {text} by {who}"
