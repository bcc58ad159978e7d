"""`training_scans.json`: what a run's training scans were like, and in what another scan differs from them.

It has ranges and curves, and no names. The fewer cases it is of, the more another scan may differ.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from volseg.data.scan_traits import CT_FAT, Axes, Curve, ScanTraits
from volseg.formatting import format_number, format_percent
from volseg.runs.run_files import TRAINING_SCANS
from volseg.schema import Section
from volseg.system.json_files import JsonFile

AXES = ("from left to right", "from front to back", "from head to feet")
ANY_CT, NO_CT = 0.05, 0.01
"""The share of voxels below CT_FAT from which a scan is like a CT, and that up to which it is not."""


class Tolerance(NamedTuple):
    """How far a scan may differ from training: `least` beside many cases, `one` more beside a single one."""

    least: float
    one: float

    def beside(self, cases: int) -> float:
        """The tolerance beside so many training cases."""
        return self.least + self.one / cases


SPACING, BODY = Tolerance(least=1.4, one=1.0), Tolerance(least=1.1, one=1.0)
"""Times the largest value of training, or less than the smallest."""
GREY = Tolerance(least=0.1, one=0.25)
"""Mean distance of quantiles from those of the nearest training scan; 0 and 1 are the ends of the scaling."""


class Range(Section):
    """The lowest and the highest value among training scans."""

    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Range":
        """The range of some values."""
        return cls(low=round(min(values), 4), high=round(max(values), 4))

    def has_within(self, value: float, times: float) -> bool:
        """Whether a value lies in the range, made so many times longer at both ends."""
        return self.low / times <= value <= self.high * times

    def __str__(self) -> str:
        low, high = format_number(self.low), format_number(self.high)
        return low if low == high else f"{low} to {high}"


Ranges = tuple[Range, Range, Range]


class TrainingScans(JsonFile):
    """The content of `training_scans.json`, of scans of so many `cases`.

    `spacing_mm` is the size of voxels and `body_mm` that of the body in a scan, along the axes of the
    patient: from left to right, from front to back, from head to feet. `negative` is the share of voxels
    below -50, as fat and air have them in a CT. `grey` has for each scan, in no order, and for each channel
    the 5 %, 15 % ... 95 % quantile of what is brighter than air, scaled as the network sees it.
    """

    file: ClassVar[str] = TRAINING_SCANS
    again: ClassVar[str] = "remove it, and `volseg train ... --resume` writes it anew"
    cases: int = Field(gt=0)
    spacing_mm: Ranges
    body_mm: Ranges
    negative: Range
    grey: tuple[tuple[Curve, ...], ...] = Field(min_length=1)

    @classmethod
    def of(cls, scans: Sequence[ScanTraits], *, cases: int) -> "TrainingScans":
        """What these scans of so many cases are like."""
        return cls(
            cases=cases,
            spacing_mm=_ranges([scan.spacing_mm for scan in scans]),
            body_mm=_ranges([scan.body_mm for scan in scans]),
            negative=Range.of([scan.negative for scan in scans]),
            grey=tuple(sorted({scan.grey for scan in scans})),
        )

    def joined(self, other: "TrainingScans", *, same_scaling: bool) -> "TrainingScans":
        """The scans of both; grey values of another scaling are left out."""
        pairs = zip((*self.spacing_mm, *self.body_mm), (*other.spacing_mm, *other.body_mm), strict=True)
        a, b, c, d, e, f = (_union(*pair) for pair in pairs)
        return TrainingScans(
            cases=max(self.cases, other.cases),  # folds have most of them in common
            spacing_mm=(a, b, c),
            body_mm=(d, e, f),
            negative=_union(self.negative, other.negative),
            grey=tuple(sorted({*self.grey, *(other.grey if same_scaling else ())})),
        )

    def differences(self, scan: ScanTraits) -> Iterator[str]:
        """A sentence for each trait in which a scan differs from these, the modality first."""
        below = f"of its voxels are below {CT_FAT:g}"
        if scan.negative >= ANY_CT and self.negative.high <= NO_CT:
            yield f"{format_percent(scan.negative)} {below}, as in a CT; training scans are no CTs"
        if scan.negative <= NO_CT and self.negative.low >= ANY_CT:
            yield f"{format_percent(scan.negative)} {below}, so it is no CT; training scans are CTs"
        pairs = [*zip(self.spacing_mm, scan.spacing_mm, strict=True)]
        if not all(known.has_within(mm, SPACING.beside(self.cases)) for known, mm in pairs):
            own = " x ".join(map(format_number, scan.spacing_mm))
            yield f"spacing {own} mm; training scans had {' x '.join(map(str, self.spacing_mm))} mm"
        for axis, known, mm in zip(AXES, self.body_mm, scan.body_mm, strict=True):
            if not known.has_within(mm, BODY.beside(self.cases)):
                yield f"{format_number(mm)} mm of a body {axis}; training scans had {known} mm"
        distance, usual = self._grey_distance(scan.grey), max(GREY.beside(self.cases), self._largest_distance)
        if distance > usual:
            yield (
                f"grey values unlike those of any training scan: {distance:.3f} from the nearest; "
                f"up to {usual:.3f} is usual"
            )

    def _grey_distance(self, grey: tuple[Curve, ...]) -> float:
        """The distance of a scan's grey values from those of the nearest training scan."""
        return float(_distances(np.array(grey), np.array(self.grey)).min())

    @cached_property
    def _largest_distance(self) -> float:
        """The largest distance of a training scan from the nearest other one; 0 where there is none."""
        curves = np.array(self.grey)
        others = (np.delete(curves, place, axis=0) for place in range(len(curves)))
        pairs = zip(curves, others, strict=True)
        return max((float(_distances(own, rest).min()) for own, rest in pairs if len(rest)), default=0.0)


def _distances(scan: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How far curves (C, Q) lie from those of others (N, C, Q), in the channel that differs most (N,)."""
    return np.asarray(np.abs(others - scan).mean(axis=-1).max(axis=-1))


def _ranges(values: Sequence[Axes]) -> Ranges:
    x, y, z = (Range.of(along) for along in zip(*values, strict=True))
    return x, y, z


def _union(one: Range, other: Range) -> Range:
    return Range(low=min(one.low, other.low), high=max(one.high, other.high))
