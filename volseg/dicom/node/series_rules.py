"""Which rules a series fits, by the headers of its images."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from volseg.dicom.node.image_header import ImageHeader, read_header
from volseg.dicom.node.settings import NodeSettings, Rule


@dataclass(frozen=True)
class SeriesFacts:
    """What rules ask of a series: what most of its images say, and the number of its slices."""

    modality: str
    description: str
    body_part: str
    orientation: str
    slices: int

    def __str__(self) -> str:
        """What may be told: no text of the sender's."""
        known = self.modality if self.modality in ("MR", "CT") else "another modality"
        return f"{known}, {self.slices} {self.orientation or 'unoriented'} slices"


def read_facts(images: Sequence[Path]) -> SeriesFacts:
    """The facts of a series in these files."""
    headers = [header for image in images if (header := read_header(image))]

    def most(field: Callable[[ImageHeader], str]) -> str:
        return Counter(map(field, headers)).most_common(1)[0][0] if headers else ""

    return SeriesFacts(
        modality=most(lambda one: one.modality),
        description=most(lambda one: one.description),
        body_part=most(lambda one: one.body_part),
        orientation=most(lambda one: one.orientation),
        slices=sum(header.slices for header in headers),
    )


def fitting_rules(settings: NodeSettings, facts: SeriesFacts) -> list[Rule]:
    """The rules that a series fits."""
    return [rule for rule in settings.rules if _fits(rule, facts) and facts.slices >= rule.min_slices]


def may_grow_to_fit(settings: NodeSettings, facts: SeriesFacts) -> bool:
    """Whether a series lacks nothing but slices for some rule."""
    return any(_fits(rule, facts) for rule in settings.rules)


def _fits(rule: Rule, facts: SeriesFacts) -> bool:
    return (
        rule.modality == facts.modality
        and rule.orientation in (None, facts.orientation)
        and _is_found(rule.description, facts.description)
        and _is_found(rule.body_part, facts.body_part)
    )


def _is_found(pattern: str | None, text: str) -> bool:
    return pattern is None or re.search(pattern, text, re.IGNORECASE) is not None
