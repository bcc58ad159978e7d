"""Which data are the UW-Madison GI tract competition's: of no others its score and list of scans are told."""

from collections.abc import Iterable

LAYOUT = "gi-tract"
CLASSES = ("large_bowel", "small_bowel", "stomach")


def is_of_competition(layout: str, classes: Iterable[str]) -> bool:
    """Whether data of this layout with these classes are the competition's, or are made like them."""
    return layout == LAYOUT and set(classes) <= set(CLASSES)
