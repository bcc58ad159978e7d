"""Splits without names: what a package knows of training scans, by the hashes of their images."""

from collections.abc import Iterable

from volseg.data.image_identity import ScanIdentity
from volseg.formatting import format_count
from volseg.runs.run_files import RunSplits
from volseg.runs.trained_on import TrainedOn


class StandIns:
    """Stand-ins for the names of scans and cases, the same in all folds of a run.

    That of a scan is the hash of its image, from which nobody can tell a name or an image; that of a case is
    the first of its scans' hashes. A scan whose image has no hash has none: nothing could tell it.
    """

    def __init__(self, scans: Iterable[ScanIdentity]) -> None:
        self.first: dict[str, str] = {}
        for scan in scans:
            if scan.image:
                self.first[scan.case] = min(scan.image, self.first.get(scan.case, scan.image))

    def of(self, scans: Iterable[ScanIdentity]) -> tuple[ScanIdentity, ...]:
        """The scans under their stand-ins, in an order that tells nothing of their names."""
        hashed = sorted((scan for scan in scans if scan.image), key=lambda scan: scan.image)
        return tuple(
            ScanIdentity(
                name=f"image-{scan.image}",
                case=f"case-of-{self.first[scan.case]}" if scan.case else "",
                image=scan.image,
            )
            for scan in hashed
        )


def nameless_splits(splits: RunSplits, run: str) -> RunSplits:
    """The splits of a run without names of scans and cases, and without checksums of files."""
    parts = {
        part: tuple(map(splits.identity_of, getattr(splits, part)))
        for part in ("train", "unseen_cases", "later_days", "hold_out", "taught")
    }
    own = tuple(scan for scans in parts.values() for scan in scans)
    before = (splits.inherited or TrainedOn()).for_dataset(own)
    stand_ins = StandIns((*own, *before.fitted, *before.chose))
    known = stand_ins.of(own)
    trained = (*parts["train"], *parts["taught"], *before.fitted)
    return splits.model_copy(
        update={
            **{part: tuple(one.name for one in stand_ins.of(scans)) for part, scans in parts.items()},
            "cases": {one.name: one.case for one in known},
            "images": {one.name: one.image for one in known},
            "files": {},
            "data": "",
            "inherited": before.model_copy(
                update={
                    "fitted": stand_ins.of(before.fitted),
                    "chose": stand_ins.of(before.chose),
                    "unknown": (*before.unknown, *_untold(trained, run)),
                }
            ),
            "nameless": True,
        }
    )


def _untold(trained: Iterable[ScanIdentity], run: str) -> Iterable[str]:
    """What is unknown of training scans that an earlier version of volseg did not hash, if there are any."""
    count = sum(not scan.image for scan in trained)
    if count:
        yield f"{run} ({format_count(count, 'training scan')} whose images have no hash)"
