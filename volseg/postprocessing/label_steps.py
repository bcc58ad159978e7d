"""Steps that labels themselves justify: as many parts as a class ever has, and none much smaller.

The parts of a class in a scan are the largest that together hold 99 % of its volume; the others are strays of
the labelling. But where more than one scan and more than a tenth of them have strays, that is how the class
looks, as small lesions beside a large one do, and all parts count.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from volseg.formatting import format_count, format_ml
from volseg.postprocessing import DropSmall, KeepLargest, Step
from volseg.postprocessing.thresholding import ThresholdingStep

STRAYS = 0.01  # of a class's volume in a scan, at most
STRAY_SCANS = 0.1
LEAST_CASES = 5
"""The next case has more parts than n before it with a probability of up to 1 / (n + 1)."""
MOST_PARTS = 3
"""A class that has had more may have one more in the next scan."""
MARGIN = 0.5  # of the smallest part
SMALLEST = 0.01  # quantile: of more than a hundred parts the smallest may be a stray


@dataclass(frozen=True)
class LabelParts:
    """The parts of one class in the labels of one scan of a case: their volumes in mm³."""

    case: str
    volumes_mm3: tuple[float, ...]

    @property
    def without_strays(self) -> tuple[float, ...]:
        """The largest parts, which together hold 99 % of the volume."""
        falling = sorted(self.volumes_mm3, reverse=True)
        enough = np.cumsum(falling) >= (1 - STRAYS) * sum(falling) * (1 - 1e-9)
        return tuple(falling[: int(enough.argmax()) + 1]) if falling else ()


@dataclass(frozen=True)
class LabelSteps:
    """Steps that the labels of some scans justify, and a line a class with the reason."""

    scans: int
    steps: tuple[Step, ...]
    reasons: tuple[str, ...]

    @property
    def comments(self) -> tuple[str, ...]:
        """The lines that stand above the steps in a file."""
        number = format_count(self.scans, "scan")
        head = f"Begun with what the labels of {number} justify (strays, of 1 % in all at most, left out):"
        return (head, *(f"  {reason}" for reason in self.reasons))

    def added_to(self, steps: Sequence[Step]) -> tuple[Step, ...]:
        """The steps with these behind the last that finds the mask anew."""
        last = max((n for n, step in enumerate(steps, 1) if isinstance(step, ThresholdingStep)), default=0)
        return (*steps[:last], *self.steps, *steps[last:])


@dataclass(frozen=True)
class _ClassParts:
    """What the labels of one class show: its parts in each scan that has it, and the scans' number."""

    scans: int
    cases: int
    parts: tuple[tuple[float, ...], ...]

    @classmethod
    def from_labels(cls, labels: Sequence[LabelParts]) -> "_ClassParts":
        there = [one for one in labels if one.volumes_mm3]
        strays = sum(len(one.without_strays) < len(one.volumes_mm3) for one in there)
        rare = strays <= max(1, STRAY_SCANS * len(there))
        parts = tuple(one.without_strays if rare else one.volumes_mm3 for one in there)
        return cls(len(labels), len({one.case for one in there}), parts)

    @property
    def most(self) -> int:
        return max(map(len, self.parts))

    @property
    def smallest_mm3(self) -> float:
        return float(np.quantile(np.concatenate(self.parts), SMALLEST, method="lower"))

    @property
    def least_mm3(self) -> float | None:
        """The least volume of a part, in two digits; None where the step could only empty masks."""
        if self.most == 1 and len(self.parts) == self.scans:
            return None
        return float(f"{MARGIN * self.smallest_mm3:.2g}")

    def reason(self, name: str) -> str:
        """The numbers that the steps of this class follow from."""
        among = f"{len(self.parts)} scans" if len(self.parts) == self.scans else (
            f"the {len(self.parts)} of {self.scans} scans that have it"
        )  # fmt: skip
        number = f"never more than {format_count(self.most, 'part')} in {among}"
        if self.most > MOST_PARTS:
            number = f"up to {self.most} parts in {among}, so their number is left alone"
        return f"{name}: {number}; the smallest has {format_ml(self.smallest_mm3 / 1000)}"


def justify_steps(labels: Mapping[str, Sequence[LabelParts]]) -> LabelSteps:
    """The steps that the labels of each class justify; on these labels they change next to nothing.

    A class that never had more than three parts keeps the most that it had. Parts below half of the smallest
    are dropped, unless the class is in every scan and always of one part: then that could only empty a mask.
    """
    classes = {name: _ClassParts.from_labels(scans) for name, scans in labels.items()}
    known = {name: one for name, one in classes.items() if one.cases >= LEAST_CASES}
    steps: tuple[Step, ...] = (
        *_small_part_steps(known, len(labels)),
        *_part_number_steps(known, len(labels)),
    )
    scans = max((one.scans for one in classes.values()), default=0)
    rare = [f"{name} ({one.cases})" for name, one in classes.items() if name not in known]
    none = (
        [f"no step for {', '.join(rare)}: {LEAST_CASES} cases that have a class are needed"] if rare else []
    )
    return LabelSteps(scans, steps, (*(one.reason(name) for name, one in known.items()), *none))


def _small_part_steps(known: Mapping[str, _ClassParts], classes: int) -> Iterator[DropSmall]:
    for name, one in known.items():
        if one.least_mm3 is not None:
            yield DropSmall(min_mm3=one.least_mm3, only=(name,) if classes > 1 else ())


def _part_number_steps(known: Mapping[str, _ClassParts], classes: int) -> Iterator[KeepLargest]:
    for number in range(1, MOST_PARTS + 1):
        names = tuple(name for name, one in known.items() if one.most == number)
        if names:
            yield KeepLargest(k=number, only=names if len(names) < classes else ())
