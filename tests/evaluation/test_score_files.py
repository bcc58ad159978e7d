"""What evaluate wrote is read again as it was, or not at all."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from tests import predicted, tiny
from volseg.evaluation import score_files
from volseg.evaluation.evaluate import evaluate
from volseg.evaluation.scan_scores import ScanInfo
from volseg.evaluation.summary import Scores
from volseg.metrics import kaggle_score
from volseg.metrics.kaggle_score import KaggleTerms


def scores() -> Scores:
    """Two scans with everything that values can be."""
    rng = np.random.default_rng(3)
    scans = []
    for day in (1, 2):
        dice = rng.uniform(size=(2, 6))
        dice[:, 4:] = np.nan
        dice[1] = np.nan
        values = {
            "stomach": {"Dice": float(rng.uniform()), "HD": np.inf},
            "large_bowel": {"Dice": np.nan, "HD": 12.3456789},
        }
        origin = ScanInfo(
            scan=f"case1_day{day}", case="case1", seen="none", run="runs/a", day=day, matrix="9x8",
            made_from=f"hash{day}",
        )  # fmt: skip
        scans.append(origin.with_scores(values, KaggleTerms(dice, rng.uniform(size=2), np.nan)))
    return Scores(tuple(scans), runs=("runs/a",))


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    before = scores()
    score_files.write(before, tmp_path)
    after = score_files.read(tmp_path)

    assert list(after) == ["case1_day1", "case1_day2"]
    for one in before.scans:
        read = after[one.scan]
        for field in dataclasses.fields(ScanInfo):
            assert getattr(read, field.name) == getattr(one, field.name)
        for organ, metrics in one.values.items():
            assert read.values[organ] == pytest.approx(metrics, rel=0, abs=0, nan_ok=True)


def test_scores_are_read_as_as_read_foretells_however_often_they_are_written(tmp_path: Path) -> None:
    foretold = [score_files.as_read_back(one) for one in scores().scans]
    before = scores()
    for _ in range(3):
        score_files.write(before, tmp_path)
        found = list(score_files.read(tmp_path).values())
        before = Scores(tuple(found))
        for one, read in zip(foretold, found, strict=True):
            np.testing.assert_array_equal(one.part.dice, read.part.dice)
            np.testing.assert_array_equal(one.part.hd, read.part.hd)


def test_a_part_that_is_read_weighs_the_same_in_the_competitions_score(tmp_path: Path) -> None:
    before = scores()
    score_files.write(before, tmp_path)
    after = score_files.read(tmp_path).values()

    expected = dataclasses.asdict(kaggle_score.score_scans(one.part for one in before.scans))
    found = dataclasses.asdict(kaggle_score.score_scans(one.part for one in after))
    assert found == pytest.approx(expected, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "scores.csv").unlink(),
        lambda folder: (folder / "summary.json").unlink(),
        lambda folder: (folder / "summary.json").write_text("{"),
        lambda folder: (folder / "summary.json").write_text("[]"),
        lambda folder: (folder / "summary.json").write_text('{"mean": {}}'),  # an earlier version's
        lambda folder: (folder / "summary.json").write_bytes(b"\xff\xfe"),
        lambda folder: (folder / "scores.csv").write_text("scan,class,metric,value\n"),
        lambda folder: edit(folder, "12.3456789", "1.5"),
    ],
)
def test_files_that_are_damaged_or_not_of_one_time_are_no_scores(tmp_path: Path, spoil) -> None:
    score_files.write(scores(), tmp_path)
    spoil(tmp_path)

    assert score_files.read(tmp_path) == {}


def edit(folder: Path, old: str, new: str) -> None:
    path = folder / "scores.csv"
    path.write_text(path.read_text().replace(old, new))


def test_a_scan_without_facts_is_no_reason_to_guess(tmp_path: Path) -> None:
    score_files.write(scores(), tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    del summary["metric_per_case"][0]["made_from"]
    (tmp_path / "summary.json").write_text(json.dumps(summary))

    assert score_files.read(tmp_path) == {}


def test_the_hash_follows_masks_and_labels_and_nothing_else(tmp_path: Path) -> None:
    dataset = tiny.write(tmp_path / "data", cases=1, days=2)
    out = tmp_path / "predictions"
    for sample in dataset.samples:
        predicted.write(out, dataset, sample.name)

    def hashes() -> list[str]:
        evaluate(out, dataset.folder, workers=1)
        return [one.made_from for one in score_files.read(out).values()]

    before = hashes()
    predicted.record(out, "case1_day0", run="another", seen="case")
    assert hashes() == before
    predicted.write(out, dataset, "case1_day0", masks=np.zeros((2, *tiny.SHAPE), np.uint8))
    masked = hashes()
    assert masked[0] != before[0]
    assert masked[1] == before[1]
    label = dataset.folder / dataset.samples[1].labels["stomach"]
    label.write_bytes((dataset.folder / dataset.samples[0].labels["stomach"]).read_bytes())
    assert hashes()[1] != before[1]
