"""What metrics mean, for those who don't know them: told where each first stands on the page."""

from collections.abc import Sequence

from volseg.evaluation.summary import COLUMNS

TERMS = {
    "Dice": "Dice: twice the volume that prediction and truth share over the sum of both; 1 is best.",
    "NSD": "NSD, surface Dice: the share of both surfaces within 2 mm, or 3 mm, of the other; 1 is best.",
    "HD95": "HD95: 95 % of either surface lies within this distance of the other; 0 is best.",
    "Competition": (
        "Competition's score: 0.4 of the mean Dice over slices, and 0.6 of 1 less the largest distance as a "
        "share of the scan's diagonal; 1 is best."
    ),
    "HD": "HD: the largest distance of either surface from the other.",
    "APL": "APL, added path length: how much of the outline, slice by slice, must be drawn anew; 0 is best.",
}
"""By the word that a metric's name begins with, in the order in which they are told."""
FIRST = ("Dice", "NSD", "HD95", "Competition")
"""Those of the key figures, which come before all others."""


def terms_of_key_figures(names: Sequence[str]) -> str:
    """The meaning of the metrics among the names of key figures."""
    return " ".join(TERMS[word] for word in FIRST if any(name.startswith(word) for name in names))


def terms_of_table() -> str:
    """The meaning of the metrics of the table of scores that no key figure is of."""
    names = {name.split("_")[0] for name in COLUMNS}
    return " ".join(text for word, text in TERMS.items() if word in names and word not in FIRST)
