"""`volseg report`: what the page says and shows, what it leaves out, and what is refused."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from tests import predicted, tiny
from volseg import cli, machine, runs
from volseg.data.dataset import Dataset, Facts
from volseg.data.volume import Volume
from volseg.errors import UserError
from volseg.masks.postprocess import Threshold
from volseg.runs import BEST, Run
from volseg.stages import report as stage
from volseg.stages import score_files
from volseg.stages.evaluate import evaluate
from volseg.stages.report import report

SCANS = ("case1_day0", "case1_day1", "case2_day0", "case2_day1")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(machine, "cores", lambda: 1)  # no processes for a few voxels


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    return tiny.write(tmp_path / "data" / "prepared", cases=2, days=2)


@pytest.fixture
def out(dataset) -> Path:
    """Predictions of all scans, the worse the later; the last one has no stomach."""
    folder = Path("predictions")
    for shift, scan in enumerate(SCANS):
        masks = np.roll(dataset.labels(dataset.of(scan)[0]), shift, axis=1)
        masks[1] &= scan != SCANS[-1]
        predicted.write(folder, dataset, scan, masks=masks, seconds={"read": 0.1, "network": 2.0})
    return folder


def change(dataset: Dataset, scan: str, **fields: object) -> None:
    """Other facts for one scan."""
    samples = [
        sample.model_copy(update=fields) if sample.name == scan else sample
        for sample in dataset.samples
    ]
    facts = dataset.facts.model_copy(update={"samples": tuple(samples)})
    Dataset(dataset.folder, Facts.model_validate(facts.model_dump())).save()


def trained(folder: Path, dataset: Dataset, *, weights: bytes = b"weights") -> Run:
    """A run as training leaves it, but for its weights."""
    facts = runs.Facts(
        dataset="tiny", classes=tiny.CLASSES, exclusive=False, channels=("mr",), fold=0,
        train=SCANS[:2], unseen_cases=SCANS[2:],
    )  # fmt: skip
    run = Run.create(folder, tiny.config(), facts)
    epochs = [
        {"epoch": e, "step": 10 * e, "seconds": 60.0 * e, "lr": 1e-3, "loss": 1 / e}
        for e in (1, 2, 3)
    ]
    scores = [
        {"unseen_cases": 0.25 * e, "unseen_cases_stomach": 0.2 * e, "score": 0.25 * e}
        for e in (1, 2, 3)
    ]
    run.write_metrics([a | b for a, b in zip(epochs, scores, strict=True)])
    (folder / BEST).write_bytes(weights)
    return run


def text_of(what: object, **options: object) -> str:
    done = report(str(what), **options)
    return done.path.read_text(encoding="utf-8")


def titles(text: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", text)


def listed(text: str) -> list[str]:
    """The scans of the list, in its order."""
    table = re.search(r'<table class="scans">.*?</table>', text)[0]
    return re.findall(r'<th scope="row">(?:<label><input[^>]*>)?([^<]*)<', table)


def pictures(text: str) -> dict[str, dict]:
    found = re.findall(r'<script type="application/json" data-scan="([^"]*)">(.*?)</script>', text)
    return {name: json.loads(data)[1] for name, data in found}


# The page


class Balance(HTMLParser):
    """Whether every element that is opened is closed again, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.faults = [], []

    def handle_starttag(self, tag, attrs):  # noqa: ARG002
        if tag not in ("meta", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)


@pytest.mark.parametrize("with_run", [True, False])
def test_the_page_is_whole_and_loads_nothing(dataset, out, with_run):
    if with_run:
        trained(Path("runs/tiny"), dataset)
    text = text_of("runs/tiny" if with_run else out)
    balance = Balance()
    balance.feed(text)

    assert (balance.open, balance.faults) == ([], [])
    without_data = re.sub(r"<script type.*?</script>", "", text)
    assert not re.search(
        r"https?:|<link|<img|<iframe|@import|url\(| src=| href=|fetch\(", without_data
    )
    assert not re.search(r"\b(nan|inf|None)\b", without_data)


def test_the_same_facts_give_the_same_bytes(out):
    assert text_of(out) == text_of(out)


def test_the_worst_scan_comes_first_and_every_scan_is_named(out):
    text = text_of(out)

    assert listed(text) == list(reversed(SCANS))
    assert list(pictures(text)) == list(reversed(SCANS))
    assert re.search(r"<dt>Lowest Dice</dt><dd>0\.\d+</dd><dd>case2_day1</dd>", text)


def test_the_means_are_those_of_evaluate(dataset, out):
    text = text_of(out)

    scores = evaluate(out, dataset.folder, workers=1)
    assert f"<dt>Dice</dt><dd>{scores.headline.foreground_mean['Dice']:.3f}</dd>" in text
    assert "<small>+1</small>" in text
    for scan in scores.scans:
        for values in scan.values.values():
            assert f"{scan.scan}: {values['Dice']:.3f}" in text


def test_a_class_that_was_missed_is_infinitely_far(out):
    figures = re.search(r'data-scan="case2_day1">\[(\[.*?\]\]),', text_of(out))[1]

    told = ["0.000", "∞", "0.0", "1.1"]  # the truth is 6 x 7 x 4 voxels
    assert json.loads(figures)[1] == told


def test_means_have_their_intervals_where_there_are_cases_enough(tmp_path):
    many = tiny.write(tmp_path / "many", cases=8, days=1)
    for shift, sample in enumerate(many.samples):
        masks = np.roll(many.labels(sample), shift % 3, axis=1)
        predicted.write(Path("eight"), many, sample.name, masks=masks)

    text = text_of("eight", data=many.folder)

    found = evaluate(Path("eight"), many.folder, workers=1).headline.intervals
    dice, score = found.mean["stomach"]["Dice"], found.kaggle
    assert f"<span>{dice.mean:.3f}<small>{dice.low:.3f}–{dice.high:.3f}</small></span>" in text
    assert f"competition&#x27;s score {score.mean:.3f} ({score.low:.3f}–{score.high:.3f})" in text


def test_without_cases_enough_there_is_no_interval(out):
    text = text_of(out)

    card = re.search(r"<h3>Unseen cases: 4 scans of 2 cases, competition.*?</table>", text)[0]
    assert set(re.findall(r"<small>(.*?)</small>", card)) == {"+1"}


def test_scans_that_training_saw_are_said_to_tell_nothing(out):
    assert "tells nothing of new patients" not in text_of(out)
    for scan in SCANS:
        predicted.record(out, scan, seen="scan")

    assert "Training saw every scan that is scored here: this tells nothing" in text_of(out)


def test_sections_are_there_when_their_facts_are(dataset, out):
    usual = ["Scores", "Scans", "How scores spread", "Volumes", "Volumes over days"]

    assert titles(text_of(out)) == [*usual, "How it was made"]
    run = trained(Path("runs/tiny"), dataset)
    assert titles(text_of("tiny")) == ["Learning", "How it was made"]
    for scan in SCANS:
        predicted.record(out, scan, weights=run.digest)
    assert titles(text_of(out)) == [*usual, "Learning", "How it was made"]


def test_one_value_has_no_range(dataset, out):
    for scan in SCANS[1:]:
        change(Dataset.load(dataset.folder), scan, labels=None)

    text = text_of(out)

    plot = re.search(r'aria-label="Predicted less true volume in ml, by scan. ([^"]*)"', text)[1]
    assert plot == "large_bowel: 0.0; stomach: 0.0"


def test_what_cleaning_changed_is_told_by_class_and_step(out):
    kept = {
        "step": "largest",
        "parts_before": 5,
        "parts_after": 1,
        "added_ml": 0.0,
        "removed_ml": 2.0,
    }
    filled = {
        "step": "fill_holes",
        "parts_before": 1,
        "parts_after": 1,
        "added_ml": 0.5,
        "removed_ml": 0.0,
    }
    nothing = {**kept, "parts_before": 2, "parts_after": 2, "removed_ml": 0.0}
    predicted.record(out, SCANS[0], changes={"stomach": [kept, filled]})
    predicted.record(out, SCANS[1], changes={"stomach": [nothing, filled]})

    section = re.search(r"<h2>What cleaning changed</h2>.*?</section>", text_of(out))[0]

    rows = [re.findall(r"<span>([^<]+)</span>", row) for row in section.split("<tr>")[2:]]
    assert [row[-6:] for row in rows] == [
        ["largest", "3.5", "1.5", "0", "1", "1 of 2"],
        ["fill_holes", "1", "1", "0.5", "0", "2 of 2"],
    ]


def test_without_truth_there_are_volumes_and_pictures(dataset, out):
    for scan in SCANS:
        change(Dataset.load(dataset.folder), scan, labels=None)

    text = text_of(out)

    assert titles(text) == ["Scans", "Volumes", "Volumes over days", "How it was made"]
    assert listed(text) == list(SCANS)
    voxels = np.count_nonzero(dataset.label(dataset.of(SCANS[0])[0], "stomach"))
    assert f"{SCANS[0]}: {voxels * 1.5 * 1.5 * 3 / 1000:.1f}" in text
    assert all(list(one["lines"]) == ["prediction"] for one in pictures(text).values())
    assert "case1_day0 is not scored: has no labels." in text


def test_without_a_dataset_there_are_outlines_without_images(dataset, out):
    (dataset.folder / "dataset.json").unlink()

    text = text_of(out)

    assert "data/prepared is no dataset, so there is no truth and no image." in text
    assert titles(text) == ["Scans", "Volumes", "How it was made"]
    assert all(one["images"] == [] for one in pictures(text).values())
    assert any(pictures(text)[SCANS[0]]["lines"]["prediction"][0])


def test_failed_scans_are_named_with_the_reason(out):
    predicted.record(out, "case9_day9", status="failed", reason="a gap at 14")

    text = text_of(out)

    assert "case9_day9 has no masks: a gap at 14." in text
    assert "4 scored, 1 failed" in text


def test_names_are_shown_as_they_are(dataset, out):
    odd = "<b>&</script>"
    renamed = out / "a"
    (out / SCANS[0]).rename(renamed)
    record = json.loads((renamed / "record.json").read_text())
    (renamed / "record.json").write_text(json.dumps({**record, "scan": "a", "run": odd}))
    facts = dataset.facts.model_copy(update={"name": odd})
    Dataset(dataset.folder, facts).save()

    text = text_of(out)

    assert "<b>" not in text
    assert "&lt;b&gt;&amp;&lt;/script&gt;" in text


def test_every_plot_is_told_in_words(dataset, out):
    run = trained(Path("runs/tiny"), dataset)
    for scan in SCANS:
        predicted.record(out, scan, weights=run.digest)

    plots = re.findall(r"<svg(?! data-part).*?</svg>", text_of(out), re.DOTALL)

    assert len(plots) > 10
    for plot in map(ET.fromstring, plots):
        assert plot.get("role") == "img"
        assert len(plot.get("aria-label")) > 10


def test_the_page_stays_below_its_limit_and_names_what_it_can_not_draw(out, monkeypatch):
    whole = text_of(out)
    sizes = [len(json.dumps(one, separators=(",", ":"))) for one in pictures(whole).values()]
    limit = len(whole.encode()) - sizes[-1] - sizes[-2] // 2
    monkeypatch.setattr(stage, "LIMIT", limit)

    done = report(str(out))

    text = done.path.read_text(encoding="utf-8")
    assert done.size == len(text.encode()) <= limit
    assert (done.drawn, done.named) == (2, 2)
    assert list(pictures(text)) == ["case2_day1", "case2_day0"]
    assert listed(text) == list(reversed(SCANS))
    assert "This file has room for the first 2; the other 2 are named with their scores." in text


# What it is of


def test_a_run_of_its_name_tells_how_it_was_trained(dataset):
    trained(Path("runs/tiny"), dataset)

    text = text_of("tiny")

    assert "<dt>Best score</dt><dd>0.750</dd>" in text
    assert "loss: from 1 at step 10 to 0.333 at 30" in text.replace("tiny:", "loss:")
    assert "stomach: from 0.2 at step 10 to 0.6 at 30" in text
    assert "name: unet" in text  # its config
    assert "<span>2 scans</span>" in text


def test_a_run_shows_the_steps_that_it_has_by_now_and_why(dataset, out):
    run = trained(Path("runs/tiny"), dataset)
    assert "- {name: threshold, value: 0.5}" in text_of("tiny")

    run.replace_postprocess((Threshold(value=0.3),), ["Dice <1"])
    text = text_of("tiny")

    assert "- {name: threshold, value: 0.3}" in text
    assert "# Dice &lt;1" in text
    assert "value: 0.5}" not in text


def test_the_run_is_found_by_the_records_and_only_if_its_weights_are_the_same(dataset, out):
    run = trained(Path("runs/tiny"), dataset)
    for scan in SCANS:
        predicted.record(out, scan, weights=run.digest)
    assert "Config of tiny" in text_of(out)

    (run.folder / BEST).write_bytes(b"other weights")
    text = text_of(out)

    assert "Config of tiny" not in text
    assert "The run tiny is not under runs, or has other weights by now" in text


def test_five_folds_are_reported_with_their_masks(dataset, out):
    folder = Path("runs/five")
    for number in range(5):
        trained(folder / f"fold{number}", dataset, weights=bytes([number]))
    ended = {"steps": 30, "best": 0.75, "seconds": 180.0, "max_seconds": None}
    finished = {f"fold{number}": ended for number in range(5)}
    (folder / "folds.json").write_text(json.dumps({"finished": finished}))
    out.rename(folder / "out_of_fold")

    text = text_of("five")

    assert listed(text) == list(reversed(SCANS))
    assert "Config of five/fold0, five/fold1, five/fold2, five/fold3, five/fold4" in text
    assert text.count('class="curve plain"') == 3 * 5  # loss, Dice and learning rate
    assert (folder / "scores.csv").is_file()


def test_scores_are_made_where_they_are_missing_or_out_of_date_and_only_there(
    dataset, out, monkeypatch
):
    report(str(out))
    made = (out / "summary.json").stat().st_mtime_ns
    with monkeypatch.context() as patched:
        patched.setattr("volseg.stages.evaluate.score", None)
        report(str(out))
    assert (out / "summary.json").stat().st_mtime_ns == made

    predicted.write(out, dataset, SCANS[-1])  # now it is the truth itself
    report(str(out))

    found = score_files.read(out)[SCANS[-1]]
    assert [values["Dice"] for values in found.values.values()] == [1.0, 1.0]


# What is refused


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_neither_a_run_nor_predictions(name, capsys):
    Path("empty").mkdir()

    assert cli.run(["report", name]) == 1

    assert "name a folder that `volseg infer` or `volseg train` wrote" in capsys.readouterr().err


def test_other_classes_are_named(out, capsys):
    record = json.loads((out / SCANS[0] / "record.json").read_text())
    (out / SCANS[0] / "record.json").write_text(json.dumps({**record, "classes": ["liver"]}))

    assert cli.run(["report", str(out)]) == 1

    assert (
        "case1_day0: has the classes liver; data/prepared has large_bowel, stomach"
        in capsys.readouterr().err
    )


def test_masks_on_another_grid_are_named_with_truth_and_without(dataset, out):
    masks = np.zeros((3, 3, 3), np.uint8)
    Volume(masks, tiny.AFFINE).write(out / SCANS[0] / "stomach.nii.gz")
    with pytest.raises(UserError, match=r"case1_day0/stomach\.nii\.gz: its shape is \(3, 3, 3\)"):
        report(str(out))

    change(dataset, SCANS[0], labels=None)
    with pytest.raises(
        UserError, match=r"case1_day0/stomach\.nii\.gz: has another shape or lies elsewhere"
    ):
        report(str(out))


def test_a_dataset_that_was_named_must_hold_the_scans(out, tmp_path):
    other = tiny.write(tmp_path / "other", cases=1, days=1)
    change(other, SCANS[0], name="case7_day0", case="case7")

    with pytest.raises(UserError, match="holds none of the predicted scans"):
        report(str(out), data=other.folder)


def test_scans_that_the_dataset_lacks_are_named(dataset, out):
    Dataset(
        dataset.folder, dataset.facts.model_copy(update={"samples": dataset.samples[:2]})
    ).save()

    text = text_of(out)

    assert "case2_day0 is not scored: not in data/prepared." in text
    assert listed(text) == [SCANS[1], SCANS[0], *SCANS[2:]]


def test_a_folder_is_no_page(out, tmp_path, capsys):
    assert cli.run(["report", str(out), "--out", str(tmp_path)]) == 1

    assert f"--out {tmp_path}: is a folder; name a file in it" in capsys.readouterr().err


def test_the_command_tells_what_it_wrote(out, capsys):
    assert cli.run(["report", "--out", "new/page.html"]) == 0

    said = capsys.readouterr()
    assert said.out == "new/page.html: 1 MB, 4 scans to look at\n"
    assert "note: The run tiny is not under runs" in said.err
