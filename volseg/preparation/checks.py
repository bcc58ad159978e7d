"""Checks of scans by their fingerprints: each by itself, and beside the others.

Bounds were set on real scans and labels, of which no warning names one: there no organ vanishes for a slice,
no mask and no slice repeats, and the body's mean intensity changes by at most 10 % from slice to slice.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from volseg.data.dataset import Sample
from volseg.data.layouts.findings import Finding
from volseg.data.preprocessing.intensity_scaling import FLAT
from volseg.formatting import first_few, format_size
from volseg.preparation import orientation_check
from volseg.preparation.fingerprint import ChannelFingerprint, ClassFingerprint, Fingerprint
from volseg.preparation.orientation_check import FingerprintByScan

JUMP = 0.35  # of the logarithm of the body's mean between slices (a factor of 1.4); real scans: at most 0.09
JUMP_STEPS = 8  # times the scan's usual step
SMALL = 30  # voxels; equal masks of fewer, or so few at the ends of the values, are no wonder
WHOLE = 4  # voxels; a class of more that scaling makes one value is told, however small
END = 0.05  # of the largest area; where a part of an organ ends, it tapers off below this
OUTSIDE = 0.05  # of a class's voxels in the blank around the body


def scan_findings(sample: Sample, fingerprint: Fingerprint) -> list[Finding]:
    """The warnings on a scan by itself."""
    scan_checks = _ScanChecks(sample)
    for number, channel in enumerate(fingerprint.channels, start=1):
        scan_checks.check_channel(channel, f"channel {number}: " if len(fingerprint.channels) > 1 else "")
    classes = fingerprint.organs or {}
    for name, of_class in classes.items():
        scan_checks.check_class(name, of_class)
    if classes and not any(of_class.voxels for of_class in classes.values()):
        scan_checks.add_warning("no organ", "has labels, but no organ on any slice", ())
    return scan_checks.findings


def dataset_findings(scans: FingerprintByScan) -> Iterator[Finding]:
    """The warnings and notes on scans beside the others of their dataset."""
    yield from _grid_notes(scans)
    yield from _orientation_notes(scans)
    for kind, prints in (("repeated slice", _slice_prints), ("repeated mask", _mask_prints)):
        yield from _repeated_content(scans, kind, prints)
    yield from orientation_check.mirrored_findings(scans)


class _ScanChecks:
    """The warnings of one scan, growing."""

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self.findings: list[Finding] = []

    def add_warning(self, kind: str, message: str, indices: Iterable[int], *classes: str) -> None:
        """Add a warning about classes on slices given by their index along Z."""
        numbers = tuple(_slice_number(self.sample, index) for index in indices)
        self.findings.append(_warning(self.sample, kind, message, numbers, classes))

    def check_channel(self, channel: ChannelFingerprint, where: str) -> None:
        """Constant and repeated slices of a channel, and jumps between slices."""
        if channel.constant:
            self._warn_slices("constant slice", f"{where}one value only on", channel.constant)
        varied = {z: mark for z, mark in enumerate(channel.prints) if z not in channel.constant}
        for same in _equal_groups(varied):
            self._warn_slices("repeated slice", f"{where}identical pixels on", same)
        for z, factor in _intensity_jumps(channel):
            before, after = _slice_number(self.sample, z - 1), _slice_number(self.sample, z)
            change = f"mean intensity changes by a factor of {factor:.2f} from slice {before} to {after}"
            self.add_warning("intensity jump", f"{where}{change}", (z - 1, z))

    def check_class(self, name: str, of_class: ClassFingerprint) -> None:
        """Repeated masks, an organ that vanishes for one slice, an organ outside the body."""
        large = {z: mark for z, mark in of_class.prints.items() if of_class.areas[z] >= SMALL}
        for same in _equal_groups(large):
            self._warn_slices("repeated mask", f"{name} has the same mask on", same, name)
        areas = np.asarray(of_class.areas)
        present = areas > END * areas.max()
        absent = np.flatnonzero(present[:-2] & (areas[1:-1] == 0) & present[2:]) + 1
        if absent.size:
            message = f"{name} is away, but there before and after, on"
            self._warn_slices("vanishing organ", message, absent.tolist(), name)
        if of_class.outside > OUTSIDE * of_class.voxels:
            share = 100 * of_class.outside / of_class.voxels
            message = f"{share:.0f} % of {name} lies in the blank around the body"
            self.add_warning("outside the body", message, (), name)
        for number, flattened in enumerate(of_class.flattened, start=1):
            fewest = WHOLE if flattened >= of_class.voxels - 1 else SMALL  # the lowest does not count
            if flattened > max(fewest, FLAT * of_class.voxels):
                where = f"channel {number}: " if len(of_class.flattened) > 1 else ""
                part = f"{where}{100 * flattened / of_class.voxels:.0f} % of {name}"
                reason = "beyond the 0.5 and 99.5 percentiles, which become 0 and 1"
                self.add_warning("intensity", f"{part} lies {reason}; data.intensity sets others", (), name)

    def _warn_slices(self, kind: str, message: str, indices: Sequence[int], *classes: str) -> None:
        numbers = [str(_slice_number(self.sample, index)) for index in indices]
        word = "slices" if len(numbers) > 1 else "slice"
        listed = ", ".join(first_few(numbers, "slices"))
        self.add_warning(kind, f"{message} {word} {listed}", indices, *classes)


def _warning(
    sample: Sample, kind: str, message: str, numbers: tuple[int, ...], classes: tuple[str, ...] = ()
) -> Finding:
    return Finding(
        scan=sample.name, severity="warning", kind=kind, message=message, slices=numbers, classes=classes
    )


def _slice_number(sample: Sample, index: int) -> int:
    return sample.slices[index] if sample.slices else index + 1


def _equal_groups(prints: Mapping[int, str]) -> list[list[int]]:
    """Groups of two or more slices with equal checksums."""
    by_print: dict[str, list[int]] = defaultdict(list)
    for z, mark in prints.items():
        by_print[mark].append(z)
    return [slices for slices in by_print.values() if len(slices) > 1]


def _intensity_jumps(channel: ChannelFingerprint) -> Iterator[tuple[int, float]]:
    """Slices whose mean jumps from that of the slice before, and the factor."""
    means = np.asarray(channel.slice_means) - channel.low
    if channel.blank is None:  # the lowest value is one voxel's: start the scale below it
        means = means + (channel.high - channel.low) * 0.1
    varied = [z for z in range(len(means)) if z not in channel.constant and means[z] > 0]
    if len(varied) < 3:
        return
    steps = np.diff(np.log(means[varied]))
    bound = max(JUMP, JUMP_STEPS * float(np.median(np.abs(steps))))
    for before, z, step in zip(varied, varied[1:], steps, strict=False):
        if abs(step) > bound and z == before + 1:
            yield z, float(np.exp(step))


def _grid_notes(scans: FingerprintByScan) -> Iterator[Finding]:
    """A note on each scan of another grid than most days of its case."""
    cases: dict[str, list[Sample]] = defaultdict(list)
    for sample, _ in scans.values():
        cases[sample.case].append(sample)
    for samples in cases.values():
        grids = [(sample.shape, sample.spacing_mm) for sample in samples]
        usual = Counter(grids).most_common(1)[0][0]
        for sample, grid in zip(samples, grids, strict=True):
            if grid != usual:
                message = f"{_grid_text(*grid)}, but other days of {sample.case} are {_grid_text(*usual)}"
                yield Finding(scan=sample.name, severity="note", kind="size", message=message)


def _orientation_notes(scans: FingerprintByScan) -> Iterator[Finding]:
    """A note on each scan with other axes than most."""
    usual = Counter(fingerprint.axes for _, fingerprint in scans.values()).most_common(1)
    for name, (_, fingerprint) in scans.items():
        if fingerprint.axes != usual[0][0]:
            message = f"its voxel axes run to {fingerprint.axes}, those of most scans to {usual[0][0]}"
            yield Finding(scan=name, severity="note", kind="orientation", message=message)


def _slice_prints(fingerprint: Fingerprint) -> dict[str, int]:
    channel = fingerprint.channels[0]
    return {mark: z for z, mark in enumerate(channel.prints) if z not in channel.constant}


def _mask_prints(fingerprint: Fingerprint) -> dict[str, int]:
    return {
        f"{name} {mark}": z
        for name, of_class in (fingerprint.organs or {}).items()
        for z, mark in of_class.prints.items()
        if of_class.areas[z] >= SMALL
    }


def _repeated_content(
    scans: FingerprintByScan, kind: str, prints: Callable[[Fingerprint], dict[str, int]]
) -> Iterator[Finding]:
    """A warning on each scan that has a slice or mask of an earlier one."""
    owners: dict[str, str] = {}
    for name, (sample, fingerprint) in scans.items():
        repeated: dict[str, list[int]] = defaultdict(list)
        for mark, z in prints(fingerprint).items():
            if owners.setdefault(mark, name) != name:
                repeated[owners[mark]].append(z)
        for other, slices in repeated.items():
            numbers = tuple(sorted({_slice_number(sample, z) for z in slices}))
            content = "pixels" if kind == "repeated slice" else "masks"
            message = f"{len(numbers)} slices have the {content} of slices of {other}"
            yield _warning(sample, kind, message, numbers)


def _grid_text(shape: Sequence[int], spacing_mm: Sequence[float]) -> str:
    return f"{format_size(shape)} at {'x'.join(f'{mm:g}' for mm in spacing_mm)} mm"
