"""Figures that others found on the real labels, found again by our decoder and metrics."""

import csv
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from volseg.data.layouts.gi_tract.rle import decode
from volseg.metrics import compute_metrics
from volseg.metrics.mask_pair import MaskPair
from volseg.metrics.overlap import Dice

SPACING = (1.63, 1.63, 3.0)
SIDE = 276


@pytest.fixture(scope="module")
def labels(shared_data: Path) -> dict[tuple[str, int, str], np.ndarray]:
    """The masks (X, Y, Z) of the 14 scans of 276 x 276 x 80 by case, day and class."""
    slices: dict[tuple[str, int, str], list[np.ndarray]] = {}
    with (shared_data / "uwmgi" / "labels_without_scans.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            scan, _, _ = row["id"].rpartition("_slice_")
            case, _, day = scan.partition("_day")
            if case != "case139":
                mask = decode(row["segmentation"], (SIDE, SIDE))
                slices.setdefault((case, int(day), row["class"]), []).append(mask)
    return {key: np.stack(found, axis=-1) for key, found in slices.items()}


def days(labels: dict, organ: str) -> list[tuple]:
    """The keys of an organ on two days that follow each other, of one case."""
    keys = sorted(key for key in labels if key[2] == organ)
    return [(one, other) for one, other in pairwise(keys) if one[0] == other[0]]


@pytest.mark.parametrize(
    ("organ", "median"), [("stomach", 0.49), ("small_bowel", 0.35), ("large_bowel", 0.33)]
)
def test_an_organ_of_one_day_on_the_next_has_the_dice_that_is_known(labels, organ, median) -> None:
    pairs = days(labels, organ)
    dice = [Dice()(MaskPair(labels[b], labels[a], SPACING)) for a, b in pairs]

    assert len(pairs) == 8
    assert np.median(dice) == pytest.approx(median, abs=0.005)


def test_a_real_organ_scores_within_seconds_and_in_plausible_millimetres(labels) -> None:
    one, other = days(labels, "stomach")[0]
    values = compute_metrics(MaskPair(labels[other], labels[one], SPACING))

    assert 100 < values["truth_ml"] < 1500
    assert 0 < values["NSD2"] < values["NSD3"] < 1
    assert 0 < values["HD95"] < values["HD"] < 150
