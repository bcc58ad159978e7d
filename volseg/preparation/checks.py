"""Judging scans by their fingerprints: what looks wrong in one of them, or beside the others.

Bounds were set on the real scans and label sets at hand (DOMAIN.md), which none of the warnings names:
there no organ vanishes for a slice, no mask and no slice repeats, and the body's mean intensity changes
by at most 10 % from slice to slice.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from volseg.data.dataset import Sample
from volseg.data.layouts.findings import Finding
from volseg.formatting import first_few
from volseg.preparation import orientation_check
from volseg.preparation.fingerprint import ChannelFingerprint, ClassFingerprint, Fingerprint
from volseg.preparation.orientation_check import FingerprintByScan

JUMP = 0.35
"""A step of the body's mean between slices, in its logarithm (a factor of 1.4); real scans: at most 0.09."""
JUMP_STEPS = 8
"""... and this many times the scan's usual step."""
SMALL = 30
"""Equal masks of fewer voxels are no wonder."""
END = 0.05
"""An organ vanishes between slices with this share of its largest one; where a part ends it tapers off."""
OUTSIDE = 0.05
"""Share of an organ in the blank around the body."""


def scan_findings(sample: Sample, fingerprint: Fingerprint) -> list[Finding]:
    """What looks wrong in one scan, judged by itself."""
    look = _ScanChecks(sample)
    for position, channel in enumerate(fingerprint.channels):
        where = f"channel {position + 1}: " if len(fingerprint.channels) > 1 else ""
        look.check_channel(channel, where)
    for name, organ in (fingerprint.organs or {}).items():
        look.check_class(name, organ)
    if fingerprint.organs and not any(organ.voxels for organ in fingerprint.organs.values()):
        look.add_warning("no organ", "has labels, but no organ on any slice", ())
    return look.found


def dataset_findings(seen: FingerprintByScan) -> Iterator[Finding]:
    """What looks wrong in a scan beside the others of its dataset."""
    yield from _grid_notes(seen)
    yield from _orientation_notes(seen)
    for kind, prints in (("repeated slice", _slice_prints), ("repeated mask", _mask_prints)):
        yield from _repeated_content(seen, kind, prints)
    yield from orientation_check.mirrored_findings(seen)


class _ScanChecks:
    """The warnings of one scan, growing."""

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self.found: list[Finding] = []

    def add_warning(self, kind: str, message: str, places: Iterable[int]) -> None:
        """Add a warning about slices given by their place along Z."""
        numbers = tuple(_slice_number(self.sample, place) for place in places)
        self.found.append(
            Finding(scan=self.sample.name, severity="warning", kind=kind, message=message, slices=numbers)
        )

    def check_channel(self, channel: ChannelFingerprint, where: str) -> None:
        """Constant, repeated and jumping slices of one channel."""
        if channel.constant:
            self._warn_slices("constant slice", f"{where}one value only on", channel.constant)
        plain = {z: mark for z, mark in enumerate(channel.prints) if z not in channel.constant}
        for same in _equal_groups(plain):
            self._warn_slices("repeated slice", f"{where}identical pixels on", same)
        for place, factor in _intensity_jumps(channel):
            pair = (_slice_number(self.sample, place - 1), _slice_number(self.sample, place))
            told = f"{where}mean intensity changes by a factor of {factor:.2f}"
            self.add_warning(
                "intensity jump", f"{told} from slice {pair[0]} to {pair[1]}", (place - 1, place)
            )

    def check_class(self, name: str, organ: ClassFingerprint) -> None:
        """Repeated masks, an organ that is away for one slice, an organ outside the body."""
        large = {z: mark for z, mark in organ.prints.items() if organ.areas[z] >= SMALL}
        for same in _equal_groups(large):
            self._warn_slices("repeated mask", f"{name} has the same mask on", same)
        areas = np.asarray(organ.areas)
        there = areas > END * areas.max()
        away = np.flatnonzero(there[:-2] & (areas[1:-1] == 0) & there[2:]) + 1
        if away.size:
            self._warn_slices(
                "vanishing organ", f"{name} is away, but there before and after, on", away.tolist()
            )
        if organ.outside > OUTSIDE * organ.voxels:
            share = 100 * organ.outside / organ.voxels
            self.add_warning(
                "outside the body", f"{share:.0f} % of {name} lies in the blank around the body", ()
            )

    def _warn_slices(self, kind: str, message: str, places: Sequence[int]) -> None:
        numbers = [str(_slice_number(self.sample, place)) for place in places]
        word = "slices" if len(numbers) > 1 else "slice"
        self.add_warning(kind, f"{message} {word} {', '.join(first_few(numbers, 'slices'))}", places)


def _slice_number(sample: Sample, place: int) -> int:
    return sample.slices[place] if sample.slices else place + 1


def _equal_groups(prints: Mapping[int, str]) -> list[list[int]]:
    """Places with equal prints, two or more together."""
    by_print: dict[str, list[int]] = defaultdict(list)
    for place, mark in prints.items():
        by_print[mark].append(place)
    return [places for places in by_print.values() if len(places) > 1]


def _intensity_jumps(channel: ChannelFingerprint) -> Iterator[tuple[int, float]]:
    """Slices whose mean is another than that of the slice before, and by which factor."""
    means = np.asarray(channel.slice_means) - channel.low
    if channel.blank is None:  # the lowest value is one voxel's: start the scale below it
        means = means + (channel.high - channel.low) * 0.1
    plain = [z for z in range(len(means)) if z not in channel.constant and means[z] > 0]
    if len(plain) < 3:
        return
    steps = np.diff(np.log(means[plain]))
    bound = max(JUMP, JUMP_STEPS * float(np.median(np.abs(steps))))
    for before, place, step in zip(plain, plain[1:], steps, strict=False):
        if abs(step) > bound and place == before + 1:
            yield place, float(np.exp(step))


def _grid_notes(seen: FingerprintByScan) -> Iterator[Finding]:
    """A note on each scan of another grid than most days of its case."""
    for scans in _samples_by_case(seen).values():
        kinds = [(sample.shape, sample.spacing_mm) for sample in scans]
        usual = Counter(kinds).most_common(1)[0][0]
        for sample, kind in zip(scans, kinds, strict=True):
            if kind != usual:
                told = f"{_grid_text(kind)}, but other days of {sample.case} are {_grid_text(usual)}"
                yield Finding(scan=sample.name, severity="note", kind="size", message=told)


def _orientation_notes(seen: FingerprintByScan) -> Iterator[Finding]:
    """A note on each scan whose axes run otherwise than in most."""
    usual = Counter(print_.axes for _, print_ in seen.values()).most_common(1)
    for name, (_, print_) in seen.items():
        if print_.axes != usual[0][0]:
            told = f"its voxel axes run to {print_.axes}, those of most scans to {usual[0][0]}"
            yield Finding(scan=name, severity="note", kind="orientation", message=told)


def _slice_prints(print_: Fingerprint) -> dict[str, int]:
    first_channel = print_.channels[0]
    constant = set(first_channel.constant)
    return {mark: z for z, mark in enumerate(first_channel.prints) if z not in constant}


def _mask_prints(print_: Fingerprint) -> dict[str, int]:
    return {
        f"{name} {mark}": z
        for name, organ in (print_.organs or {}).items()
        for z, mark in organ.prints.items()
        if organ.areas[z] >= SMALL
    }


def _repeated_content(
    seen: FingerprintByScan, kind: str, prints: Callable[[Fingerprint], dict[str, int]]
) -> Iterator[Finding]:
    """A warning on each scan that has a slice or mask of an earlier one."""
    owner: dict[str, str] = {}
    for name, (sample, print_) in seen.items():
        same: dict[str, list[int]] = defaultdict(list)
        for mark, place in prints(print_).items():
            if owner.setdefault(mark, name) != name:
                same[owner[mark]].append(place)
        for other, places in same.items():
            numbers = tuple(sorted({_slice_number(sample, place) for place in places}))
            what = "pixels" if kind == "repeated slice" else "masks"
            told = f"{len(numbers)} slices have the {what} of slices of {other}"
            yield Finding(scan=name, severity="warning", kind=kind, message=told, slices=numbers)


def _samples_by_case(seen: FingerprintByScan) -> dict[str, list[Sample]]:
    cases: dict[str, list[Sample]] = defaultdict(list)
    for sample, _ in seen.values():
        cases[sample.case].append(sample)
    return cases


def _grid_text(kind: tuple[tuple[int, ...], tuple[float, ...]]) -> str:
    size, spacing = kind
    return f"{'x'.join(map(str, size))} at {'x'.join(f'{one:g}' for one in spacing)} mm"
