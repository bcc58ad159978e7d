"""Laws of the scores that choose the best weights, beside those of `volseg evaluate`."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests import tiny
from volseg.arguments import InferArguments, TrainArguments
from volseg.config.config import validate_values
from volseg.data.dataset import Dataset
from volseg.errors import UserError
from volseg.evaluation.evaluate import evaluate
from volseg.inference.infer import infer
from volseg.metrics import kaggle_score
from volseg.metrics.mask_pair import MaskPair
from volseg.metrics.surface import SurfaceDice
from volseg.model.engines.torch_device import Device
from volseg.runs.run import Run
from volseg.runs.run_files import LAST
from volseg.training import selection
from volseg.training.selection import MET, SELECTIONS, mean_over_classes
from volseg.training.train import train
from volseg.training.validation import Validation

SPACING = (1.0, 1.0, 3.0)


def pairs(seed: int, *, classes: int = 2) -> list[MaskPair]:
    """The masks of the classes of one scan, most of which overlap."""
    rng = np.random.default_rng(seed)
    label = rng.random((classes, 9, 8, 5)) < 0.3
    return [MaskPair(one, one ^ (rng.random(one.shape) < 0.1), SPACING) for one in label]


def test_the_kaggle_selection_is_the_competitions_score() -> None:
    scans = [pairs(seed) for seed in range(4)]
    expected = kaggle_score.score_scans(
        kaggle_score.scan_terms(dict(zip("ab", scan, strict=True))) for scan in scans
    )
    kaggle = SELECTIONS["kaggle"]

    assert kaggle.combine([[kaggle.measure(one) for one in scan] for scan in scans]) == expected.score


def test_surface_dice_is_the_mean_over_classes_of_means_over_scans() -> None:
    scans = [pairs(seed) for seed in range(3)]
    nowhere = np.zeros((9, 8, 5), bool)
    scans[0][1] = MaskPair(nowhere, nowhere, SPACING)  # nothing to measure
    values = [[SurfaceDice()(one) for one in scan] for scan in scans]
    surface = SELECTIONS["surface_dice"]
    by_class = [np.mean([row[0] for row in values]), np.mean([values[1][1], values[2][1]])]

    score = surface.combine([[surface.measure(one) for one in scan] for scan in scans])

    assert score == pytest.approx(np.mean(by_class))


def test_a_mask_that_hardly_meets_its_organ_counts_as_missed_without_its_distance(monkeypatch) -> None:
    label, anywhere = np.zeros((9, 8, 5), bool), np.ones((9, 8, 5), bool)
    label[4, 4, 2] = True
    far = MaskPair(label, anywhere, SPACING)
    monkeypatch.setattr(selection, "normalised_hd", lambda _pair: pytest.fail("was measured"))

    dice, distance = SELECTIONS["kaggle"].measure(far)

    assert MET > 2 / 361
    assert distance == 1
    assert dice[2] == pytest.approx(2 / 73)


def test_where_nothing_is_to_be_found_nothing_is_measured() -> None:
    nowhere = np.zeros((3, 3, 2), bool)
    kaggle, empty = SELECTIONS["kaggle"], MaskPair(nowhere, nowhere, SPACING)

    assert math.isnan(kaggle.combine([[kaggle.measure(empty)]]))
    assert math.isnan(mean_over_classes([[math.nan]]))


def test_an_unknown_score_is_refused() -> None:
    with pytest.raises(UserError, match=r"train.select: .*kaggle"):
        validate_values({"train": {"select": "hd95"}}, "c.yaml")


@pytest.mark.slow
def test_the_selected_score_is_that_of_evaluate(trained: Path, data: Path, tmp_path: Path) -> None:
    run = Run.open(trained)
    infer(InferArguments(run=(str(trained),), data=data, out=tmp_path, split="unseen_cases", engine="torch"))
    evaluate(tmp_path, data, out=tmp_path)
    table = list(csv.DictReader((tmp_path / "scores.csv").open()))
    surface = [
        [float(one["value"]) for one in table if (one["metric"], one["class"]) == ("NSD2", name)]
        for name in tiny.CLASSES
    ]
    expected = {
        "kaggle": json.loads((tmp_path / "summary.json").read_text())["kaggle"]["score"],
        "surface_dice": mean_over_classes(np.transpose(surface)),
    }
    dice = Validation.of_network(run, Dataset.load(data), run.load_network(), Device.choose("auto"))

    for select, score in expected.items():
        validation = replace(dice, select=select)
        row = validation.gather_scores(validation.score_own_scans(lambda _done, _count: None))
        both = [row[f"{select}_{name}"] for name in ("unseen_cases", "later_days")]

        assert both[0] == pytest.approx(score, abs=1e-5)
        assert row["score"] == pytest.approx(np.mean(both), abs=1e-5)
        assert row["unseen_cases"] != both[0]


@pytest.mark.slow
def test_weights_and_patience_go_by_the_selected_score_which_a_resume_keeps(
    data: Path, tmp_path: Path, monkeypatch
) -> None:
    course = {"steps": 4, "epoch_steps": 1, "select": "kaggle", "patience": 2}
    gather, scores = Validation.gather_scores, iter([0.1, 0.3, 0.2, 0.25])

    def scored(self, own):
        return {**gather(self, own), "score": next(scores)}

    monkeypatch.setattr(Validation, "gather_scores", scored)

    done = train(tiny.config(train=course), TrainArguments(data=data, run=tmp_path / "r"))

    assert (done.best, done.select, done.steps) == (0.3, "kaggle", 4)
    assert "Kaggle score of unseen_cases" in (tmp_path / "r/log.txt").read_text()
    assert torch.load(tmp_path / "r" / LAST, weights_only=True)["best"] == 0.3
    with pytest.raises(UserError, match=r"train.select \(kaggle then, dice now\)"):
        train(
            tiny.config(train={**course, "select": "dice"}),
            TrainArguments(data=data, run=tmp_path / "r", resume=True),
        )
