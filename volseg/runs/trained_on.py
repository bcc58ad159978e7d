"""The scans that went into a run's weights, those of weights that its training began with included."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Literal

from volseg.data.image_identity import ScanIdentity
from volseg.schema import Section

Seen = Literal["scan", "case", "none", "unknown"]
"""What training saw of a scan; unknown of masks that no run of ours made."""
SEEN: tuple[Seen, ...] = ("scan", "case", "unknown", "none")
"""What training saw of a scan, the most first."""


class TrainedOn(Section):
    """The scans that went into weights: those they were `fitted` on, and those that `chose` the best of them.

    `unknown` names weights among their ancestors of which nobody knows what they saw. `nameless` has for each
    package without names all scans that it knows, in training or not, told by their images alone: of any
    other scan it can't say whether it is another day of one of them.
    """

    fitted: tuple[ScanIdentity, ...] = ()
    chose: tuple[ScanIdentity, ...] = ()
    unknown: tuple[str, ...] = ()
    nameless: tuple[tuple[ScanIdentity, ...], ...] = ()

    def __add__(self, other: "TrainedOn") -> "TrainedOn":
        """Both together, each scan once."""
        return TrainedOn(
            fitted=tuple(dict.fromkeys((*self.fitted, *other.fitted))),
            chose=tuple(dict.fromkeys((*self.chose, *other.chose))),
            unknown=tuple(dict.fromkeys((*self.unknown, *other.unknown))),
            nameless=tuple(dict.fromkeys((*self.nameless, *other.nameless))),
        )

    def for_dataset(self, scans: Iterable[ScanIdentity]) -> "TrainedOn":
        """The same for the scans of a dataset: without names of cases, where those mean others there.

        They do if most scans of the dataset that have a name in common with these have another image.
        """
        images = defaultdict(set)
        for one in (*self.fitted, *self.chose):
            images[one.name].add(one.image)
        common = [one for one in scans if one.image and "" not in images.get(one.name, {""})]
        others = sum(one.image not in images[one.name] for one in common)
        if 2 * others <= len(common):
            return self
        stand_ins = {one.name for known in self.nameless for one in known}
        fitted = (
            one if one.name in stand_ins else one.model_copy(update={"case": ""}) for one in self.fitted
        )
        return self.model_copy(update={"fitted": tuple(fitted)})

    def namesakes(self, scans: Iterable[ScanIdentity]) -> tuple[ScanIdentity, ...]:
        """Those of some scans that have the name of one of these: `for_dataset` needs no others."""
        names = {one.name for one in (*self.fitted, *self.chose)}
        return tuple(one for one in scans if one.name in names)

    def seen_in_training(self, scan: ScanIdentity) -> Seen:
        """What training saw: this very "scan", another day of its "case", or "none" of it.

        "unknown" where that would take a name that a package does not hold.
        """
        if any(scan.is_same_scan(one) for one in self.fitted):
            return "scan"
        own = [next(filter(scan.is_same_image, known), None) for known in self.nameless]
        cases = {scan.case, *(one.case for one in own if one)} - {""}
        if not cases.isdisjoint(one.case for one in self.fitted if one.name != scan.name):
            return "case"
        return "none" if all(own) else "unknown"

    def chose_weights(self, scan: ScanIdentity) -> bool:
        """Whether the best weights were chosen by this scan, among others."""
        return any(scan.is_same_scan(one) for one in self.chose)

    def has_namesake(self, scan: ScanIdentity) -> bool:
        """Whether training saw another image of this name, and not this one."""
        return self.seen_in_training(scan) != "scan" and any(map(scan.is_namesake, self.fitted))
