"""`volseg report`: what the page says and shows, what it leaves out, and what is refused."""

import html
import json
import re
import shutil
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from tests import predicted, tiny
from tests.tuning.test_tuning_file import tuned
from volseg import __version__, cli
from volseg.data.dataset import Dataset, DatasetInfo
from volseg.data.layouts.gi_tract import rle_csv
from volseg.data.volume import Volume
from volseg.data.volume_files import read, write_volume
from volseg.errors import OutputError, UserError
from volseg.evaluation import score_files
from volseg.evaluation.evaluate import evaluate
from volseg.inference.confidence.calibration_file import (
    CalibrationFigures,
    CalibrationFile,
    ClassCalibration,
    ReferenceRanges,
)
from volseg.inference.confidence.temperature_scaling import TemperatureScaling
from volseg.inference.correction_file import read_correction, write_correction
from volseg.inference.tables import NOT_CALIBRATED
from volseg.postprocessing import Threshold
from volseg.report import report as stage
from volseg.report.report import report
from volseg.runs import run_files as runs
from volseg.runs.config_files import step_lines
from volseg.runs.run import Run
from volseg.runs.run_files import BEST
from volseg.runs.trained_on import TrainedOn
from volseg.system import hardware
from volseg.system.files import file_sha256
from volseg.visualization.row_charts import LEFT, RIGHT

SCANS = ("case1_day0", "case1_day1", "case2_day0", "case2_day1")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hardware, "available_cores", lambda: 1)  # no processes for a few voxels


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    return tiny.write(tmp_path / "data" / "prepared", cases=2, days=2)


@pytest.fixture
def out(dataset) -> Path:
    """Predictions of all scans, the worse the later; the last one has no stomach."""
    folder = Path("predictions")
    for shift, scan in enumerate(SCANS):
        masks = np.roll(dataset.labels(dataset.select_samples(scan)[0]), shift, axis=1)
        masks[1] &= scan != SCANS[-1]
        predicted.write(folder, dataset, scan, masks=masks, seconds={"read": 0.1, "network": 2.0})
    return folder


def change(dataset: Dataset, scan: str, **fields: object) -> None:
    """Other facts for one scan."""
    samples = [
        sample.model_copy(update=fields) if sample.name == scan else sample for sample in dataset.samples
    ]
    facts = dataset.facts.model_copy(update={"samples": tuple(samples)})
    Dataset(dataset.folder, DatasetInfo.model_validate(facts.model_dump())).save()


def trained(folder: Path, dataset: Dataset, *, weights: bytes = b"weights", synthetic: bool = False) -> Run:
    """A run as training leaves it, but for its weights."""
    facts = runs.RunSplits(
        dataset="tiny", classes=tiny.CLASSES, exclusive=False, channels=("mr",), fold=0,
        train=SCANS[:2], unseen_cases=SCANS[2:], synthetic=synthetic,
    )  # fmt: skip
    run = Run.create(folder, tiny.config(), facts)
    epochs = [{"epoch": e, "step": 10 * e, "seconds": 60.0 * e, "lr": 1e-3, "loss": 1 / e} for e in (1, 2, 3)]
    scores = [
        {"unseen_cases": 0.25 * e, "unseen_cases_stomach": 0.2 * e, "score": 0.25 * e} for e in (1, 2, 3)
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
    assert not re.search(r"https?:|<link|<img|<iframe|@import|url\(| src=| href=|fetch\(", without_data)
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
    assert f"competition's score {score.mean:.3f} ({score.low:.3f}–{score.high:.3f})" in text


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
        predicted.record(out, scan, weights=run.weights_digest)
    assert titles(text_of(out)) == [*usual, "Learning", "How it was made"]


def test_one_value_has_no_range(dataset, out):
    for scan in SCANS[1:]:
        change(Dataset.load(dataset.folder), scan, labels=None)

    text = text_of(out)

    plot = re.search(r'aria-label="Predicted less true volume in ml, by scan. ([^"]*)"', text)[1]
    assert plot == "large_bowel: 0.0; stomach: 0.0"


def test_what_cleaning_changed_is_told_by_class_and_step(out):
    kept = {"step": "largest", "parts_before": 5, "parts_after": 1, "added_ml": 0.0, "removed_ml": 2.0}
    filled = {"step": "fill_holes", "parts_before": 1, "parts_after": 1, "added_ml": 0.5, "removed_ml": 0.0}
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
    voxels = np.count_nonzero(dataset.label(dataset.select_samples(SCANS[0])[0], "stomach"))
    assert f"{SCANS[0]}: {voxels * 1.5 * 1.5 * 3 / 1000:.1f}" in text
    assert all(list(one["lines"]) == ["prediction"] for one in pictures(text).values())
    assert f"{', '.join(SCANS)}: not scored: has no labels." in text


def test_without_a_dataset_there_are_outlines_without_images(dataset, out):
    (dataset.folder / "dataset.json").unlink()

    text = text_of(out)

    assert "data/prepared is no dataset, so there is no truth." in text
    told = "case1_day0: its record does not name its image; name the dataset by --data (3 more likewise)."
    assert f"Outlines stand on black where there is no image: {told}" in text
    assert titles(text) == ["Scans", "Volumes", "How it was made"]
    assert all(one["images"] == [] for one in pictures(text).values())
    assert any(pictures(text)[SCANS[0]]["lines"]["prediction"][0])


def test_images_given_by_input_are_drawn_while_they_are_there(dataset, tmp_path):
    given = tmp_path / "given.nii.gz"
    shutil.copy(dataset.folder / "images/case1_day0.nii.gz", given)
    (dataset.folder / "dataset.json").rename(tmp_path / "away.json")
    predicted.write(
        Path("out"), dataset, SCANS[0], source=[str(given)], image_hash=dataset.samples[0].image_hash
    )

    text = text_of("out")
    (drawn,) = pictures(text).values()

    assert "HD95" not in re.search(r'<table class="organs">.*?</table>', text)[0]
    assert len(drawn["images"]) == len(drawn["numbers"])
    assert list(drawn["lines"]) == ["prediction"]

    given.unlink()
    text = text_of("out")

    assert f"no image: {given}: the image is no longer there; name its dataset by --data." in text
    assert pictures(text)[SCANS[0]]["images"] == []


# The head, and what words mean


def test_the_head_names_the_date_the_version_and_that_it_is_for_research(out):
    head = re.search(r"<header>.*?</header>", text_of(out))[0]

    assert f"dataset tiny · {date.today().isoformat()} · volseg {__version__}</p>" in head
    assert "Research software, no medical device" in head
    assert "ynthetic" not in head


@pytest.mark.parametrize("source", ["predictions", "runs/tiny"])
def test_a_phantom_is_said_to_be_synthetic(dataset, out, source):
    trained(Path("runs/tiny"), dataset, synthetic=True)
    facts = dataset.facts.model_copy(update={"synthetic": True})
    Dataset(dataset.folder, facts).save()

    assert "<strong>Synthetic scans.</strong>" in re.search(r"<header>.*?</header>", text_of(source))[0]


def test_metrics_are_explained_once_where_they_first_stand(out):
    text = html.unescape(re.sub(r"<.*?>", " ", text_of(out)))

    for first, meaning in (
        ("NSD 2 mm", "NSD, surface Dice: "),
        ("HD95 mm", "HD95: 95\u202f% of"),
        ("HD mm", "HD: the largest"),
        ("APL mm", "APL, added path length: "),
    ):
        assert text.count(meaning) == 1
        assert abs(text.index(meaning) - text.index(first)) < 1500


@pytest.mark.parametrize(("layout", "told"), [("gi-tract", True), ("nifti", False)])
def test_the_competitions_score_is_told_of_its_own_data_alone(dataset, out, layout, told):
    facts = dataset.facts.model_copy(update={"layout": layout})
    Dataset(dataset.folder, facts).save()

    assert ("ompetition" in text_of(out)) == told


def test_failed_scans_are_named_with_the_reason(out):
    predicted.record(out, "case9_day9", status="failed", reason="a gap at 14")

    text = text_of(out)

    assert "case9_day9: no masks: a gap at 14." in text
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
        predicted.record(out, scan, weights=run.weights_digest)

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


# Where to look, and what calibration and tuning changed


@pytest.mark.parametrize("later", [True, False])
def test_scores_before_and_after_are_told_of_masks_that_are_older_than_tuning(dataset, out, later):
    run = trained(Path("runs/tiny"), dataset)
    old = tuple(step_lines(run.config.postprocess))
    new = run.replace_postprocess((Threshold(value=0.4),))
    tuned(weights=(run.weights_digest,)).write(run.folder)
    steps = old if later else tuple(step_lines(new.config.postprocess))
    for scan in SCANS[:3]:
        predicted.record(out, scan, weights=run.weights_digest, steps=steps)

    lead = re.search(r"<h2>Scores</h2><p>(.*?)</p>", text_of(out))[1]

    told = (
        "3 scans here were predicted before volseg tune changed the steps on 2026-11-26: the scores are those"
    )
    assert (told in lead) == later
    assert ("of 0.720 instead of 0.700" in lead) == later


@pytest.mark.parametrize("later", [True, False])
def test_errors_before_and_after_are_told_of_confidence_that_is_older_than_calibration(dataset, out, later):
    run = trained(Path("runs/tiny"), dataset)
    calibrated((run.weights_digest,)).write(run.folder)
    organ = {"dice": 0.8, "calibrated": not later, "volume_ml": 1.0}
    predicted.record(out, SCANS[0], weights=run.weights_digest, confidence={"stomach": organ})

    lead = re.search(r"<h2>Where to look</h2><p>(.*?)</p>", text_of(out))[1]

    told = "1 scan here was predicted before volseg calibrate: their confidence is that before it, "
    assert (told in lead) == later
    assert ("0.125 off the true Dice on average instead of 0.031" in lead) == later
    assert NOT_CALIBRATED not in lead


def confident(out: Path, scan: str, dice: float | None, **told: object) -> None:
    """The record of a scan whose large bowel is trusted this far; of the stomach nothing is told."""
    organ = {"dice": dice, "calibrated": True, "volume_ml": 1.0, "slices": [[4, 6], [9, 9]], **told}
    predicted.record(out, scan, confidence={"large_bowel": organ}, check=[[4, 6]])


def looked_at(text: str) -> list[list[str]]:
    """The rows of the table of where to look, without their tags."""
    table = re.search(r'<table class="wide look">.*?</table>', text)[0]
    cells = [re.findall(r"<t[hd].*?</t[hd]>", row) for row in table.split("<tr>")[2:]]
    return [[re.sub(r"<.*?>", " ", cell).strip() for cell in row] for row in cells]


def test_a_scan_unlike_those_of_training_is_told_above_the_table_and_only_then(out):
    confident(out, SCANS[0], 0.8)
    usual = text_of(out)
    path = out / SCANS[0] / "record.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "outside": ["spacing <4> mm"]}))

    text = text_of(out)

    assert f"<strong>{SCANS[0]}</strong>: spacing &lt;4&gt; mm" in text
    assert "Unlike the scans of training" not in usual


def test_the_least_trusted_organs_come_first_with_why_and_where(out):
    flags = [{"sign": "cut", "text": "touches <the last slice>"}, {"sign": "parts", "text": "3 parts"}]
    confident(out, SCANS[0], 0.812)
    confident(out, SCANS[1], None, flags=flags[:1], slices=[])
    confident(out, SCANS[2], 0.406, flags=flags)

    text = text_of(out)

    assert looked_at(text) == [
        [SCANS[1], "large_bowel", "not found", "–", "touches &lt;the last slice&gt;"],
        [SCANS[2], "large_bowel", "0.41", "4–6   9", "touches &lt;the last slice&gt; 3 parts"],
        [SCANS[0], "large_bowel", "0.81", "4–6   9", ""],
    ]
    assert titles(text)[:3] == ["Scores", "Where to look", "Scans"]
    assert "calibrated on validation scans. Choose slices to see them below." in text
    assert pictures(text)[SCANS[0]]["check"] == [[4, 6]]


def test_of_a_mask_that_was_drawn_by_hand_no_confidence_is_told_and_its_own_volume(dataset, out):
    confident(out, SCANS[0], 0.8)
    confident(out, SCANS[1], None)
    path, record = out / SCANS[1] / "large_bowel.nii.gz", out / SCANS[1] / "record.json"
    told = {**json.loads(record.read_text()), "files": {path.name: file_sha256(path)}}
    record.write_text(json.dumps(told))
    assert [row[0] for row in looked_at(text_of(out))] == [SCANS[0], SCANS[1]]
    assert "not found" in text_of(out)

    drawn = np.zeros(tiny.SHAPE, np.uint8)
    drawn[:10, :10, 5] = 1
    write_volume(Volume(drawn, tiny.AFFINE), path)
    text = text_of(out)

    assert [row[0] for row in looked_at(text)] == [SCANS[0]]
    assert "not found" not in text
    assert f"{SCANS[1]}: corrected by hand after it was predicted: large_bowel" in text


def corrections(text: str) -> tuple[str, list[list[str]], list[list[str]]]:
    """The lead of the section of corrections, and the rows of its two tables."""
    section = re.search(r"<h2>What corrections cost</h2>.*?</section>", text, re.DOTALL)[0]
    tables = re.findall(r"<tbody>.*?</tbody>", section, re.DOTALL)
    rows = [[re.findall(r"<t[hd].*?</t[hd]>", row) for row in table.split("<tr>")[1:]] for table in tables]
    texts = [[[re.sub(r"<.*?>", "", cell).strip() for cell in row] for row in table] for table in rows]
    return re.search(r"<p>(.*?)</p>", section)[1], texts[0], texts[1]


def test_what_corrections_cost_is_told_by_organ_and_by_scan(dataset, out):
    predicted.correct(out / SCANS[0], stomach=12, large_bowel=-4)
    predicted.correct(out / SCANS[1], stomach=6)
    predicted.correct(out / SCANS[2])

    lead, by_class, by_scan = corrections(text_of(out))

    assert lead == (
        "3 of 4 scans looked at and saved, 2 of them with a change. They took 4 min, 90 s a scan. Scores, "
        "volumes and pictures on this page are of the corrected masks."
    )
    slices = {(scan, name): len(read_correction(out / scan).classes[name].slices)
              for scan in SCANS[:2] for name in tiny.CLASSES}  # fmt: skip
    stomach, bowel = (
        slices[SCANS[0], "stomach"] + slices[SCANS[1], "stomach"],
        slices[SCANS[0], "large_bowel"],
    )
    both = {n for one in read_correction(out / SCANS[0]).classes.values() for n in one.slices}
    assert by_class == [
        ["stomach", "2 of 3", "1.8", "0", "2.4", str(stomach)],
        ["large_bowel", "1 of 3", "0", "0.4", "1.2", str(bowel)],
        ["all", "2 of 3", "1.8", "0.4", "3.6", str(len(both) + slices[SCANS[1], "stomach"])],
    ]
    assert by_scan == [
        [SCANS[0], "large_bowel, stomach", "1.6 ml", "2.4", str(len(both)), "1 of 3", "90 s"],
        [SCANS[1], "stomach", "0.6 ml", "1.2", str(slices[SCANS[1], "stomach"]), "1 of 3", "90 s"],
        [SCANS[2], "none", "0 ml", "0", "0", "1 of 3", "90 s"],
    ]


def changed_places(text: str) -> dict[str, int]:
    """The place of each changed slice in % from head to feet, by its tooltip."""
    chart = re.search(r"<h3>Where masks were changed</h3>.*?</figure>", text, re.DOTALL)[0]
    dots = re.findall(r"<circle[^>]*cx=\"([0-9.]+)\"[^>]*>.*?<title>([^<]*)</title>", chart)
    return {hint: round(100 * (float(x) - LEFT) / (RIGHT - LEFT)) for x, hint in dots}


@pytest.mark.parametrize("with_data", [True, False])
def test_where_masks_were_changed_is_told_from_head_to_feet(dataset, out, with_data):
    correct_slices(out / SCANS[0], (1, tiny.SHAPE[2]))
    if not with_data:
        (dataset.folder / "dataset.json").unlink()

    assert changed_places(text_of(out)) == {f"{SCANS[0]}: slice 1": 5, f"{SCANS[0]}: slice 10": 95}


def test_slices_of_a_volume_that_runs_to_the_head_are_told_from_its_last_one(dataset, out):
    (dataset.folder / "dataset.json").unlink()
    folder = out / SCANS[0]
    (folder / "rle.csv").unlink()
    for name in tiny.CLASSES:
        path = folder / f"{name}.nii.gz"
        write_volume(Volume(read(path).voxels, tiny.AFFINE @ np.diag([1.0, 1, -1, 1])), path)
    correct_slices(folder, (0, 1))

    assert changed_places(text_of(out)) == {f"{SCANS[0]}: slice 0": 95, f"{SCANS[0]}: slice 1": 85}


def correct_slices(scan: Path, slices: tuple[int, ...]) -> None:
    """Corrections of a scan that are said to be in these slices."""
    correction = predicted.correct(scan, stomach=12)
    changed = correction.classes["stomach"].model_copy(update={"slices": slices})
    classes = {**correction.classes, "stomach": changed}
    write_correction(correction.model_copy(update={"classes": classes}), scan / "corrected")


def test_without_corrections_nothing_is_said_of_them(out):
    assert "corrected" not in text_of(out)


def test_scores_are_made_anew_when_corrections_are_there_and_when_they_are_gone(dataset, out):
    report(str(out))
    before = score_files.read(out)[SCANS[0]]
    predicted.correct(out / SCANS[0], stomach=12)

    assert f"{SCANS[0]}: corrected in corrected/: stomach (12 voxels, 1.2 ml)" in text_of(out)
    after = score_files.read(out)[SCANS[0]]
    assert after.made_from != before.made_from
    assert after.values["stomach"]["Dice"] < before.values["stomach"]["Dice"]
    shutil.rmtree(out / SCANS[0] / "corrected")
    report(str(out))

    again = score_files.read(out)[SCANS[0]]
    assert (again.made_from, again.values) == (before.made_from, before.values)


def test_what_is_not_calibrated_is_said(out):
    confident(out, SCANS[0], 0.8, calibrated=False)
    text = text_of(out)
    assert f"Here {NOT_CALIBRATED}. As it is" in text
    assert [row[2] for row in looked_at(text)] == ["0.80"]

    confident(out, SCANS[1], 0.9)
    assert [row[2] for row in looked_at(text_of(out))] == ["0.80 not calibrated", "0.90"]


def test_how_good_confidence_is_and_where_nobody_knows_it_is_said(out):
    confident(out, SCANS[0], 0.8, range=[0.7, 0.85], error=0.04)
    confident(out, SCANS[1], None, doubt="it ranks nothing <here>")

    text = text_of(out)

    assert [row[2] for row in looked_at(text)] == ["0.80 (0.70-0.85)", "unknown"]
    assert "on validation scans that had no part in it: large_bowel 0.04." in text
    assert "Unknown for large_bowel: it ranks nothing &lt;here&gt;." in text


def test_of_many_organs_the_least_trusted_are_shown_and_all_are_counted(out, monkeypatch):
    monkeypatch.setattr("volseg.report.page.confidence.SHOWN", 2)
    for number, scan in enumerate(SCANS):
        confident(out, scan, 0.9 - number / 10)

    text = text_of(out)

    assert [row[2] for row in looked_at(text)] == ["0.60", "0.70"]
    assert "2 of 4 organs; the others are in predictions.json." in text


def test_a_scan_without_a_picture_has_its_slices_as_text(out, monkeypatch):
    confident(out, SCANS[0], 0.5)
    monkeypatch.setattr(stage, "LIMIT", 0)

    text = text_of(out)

    assert looked_at(text)[0][3] == "4–6, 9"
    assert "<button" not in text


def test_confidence_is_held_against_the_true_dice(dataset, out):
    scores = evaluate(out, dataset.folder, workers=1)
    true = {one.scan: one.values["large_bowel"]["Dice"] for one in scores.scans}
    for scan in SCANS:
        confident(out, scan, 0.5)

    text = text_of(out)

    apart = sum(abs(0.5 - dice) for dice in true.values()) / 4
    below = sum(dice < 0.5 for dice in true.values())
    assert f"4 masks of unseen scans: on average {apart:.2f} apart. {below} of them lie below" in text
    for scan, dice in true.items():
        assert f"<title>{scan}, large_bowel: expected 0.50, Dice {dice:.3f}</title>" in text


def test_without_truth_the_least_trusted_scan_comes_first(dataset, out):
    for scan in SCANS:
        change(Dataset.load(dataset.folder), scan, labels=None)
    confident(out, SCANS[2], 0.4)
    confident(out, SCANS[1], 0.6)

    text = text_of(out)

    assert listed(text) == [SCANS[2], SCANS[1], SCANS[0], SCANS[3]]
    assert "Least trusted first" in text
    tile = "<dt>Lowest confidence</dt><dd>0.400</dd><dd>large_bowel of case2_day0</dd>"
    assert tile in text
    assert "Was confidence right?" not in text


def test_without_the_dataset_slices_have_their_source_numbers(dataset, out):
    change(dataset, SCANS[0], slices=tuple(range(31, 41)))
    sample = Dataset.load(dataset.folder).select_samples(SCANS[0])[0]
    masks = np.zeros((2, *tiny.SHAPE), bool)
    masks[0, 5:9, 5:9, 4] = True
    rows = rle_csv.scan_rows(SCANS[0], sample.slices, classes=tiny.CLASSES, masks=masks)
    rle_csv.write(out / SCANS[0] / "rle.csv", rows)
    with_dataset = pictures(text_of(out))[SCANS[0]]["numbers"]
    (dataset.folder / "dataset.json").unlink()

    assert pictures(text_of(out))[SCANS[0]]["numbers"] == with_dataset
    assert with_dataset[-1] > 31

    (out / SCANS[0] / "rle.csv").unlink()
    assert pictures(text_of(out))[SCANS[0]]["numbers"] == [n - 31 for n in with_dataset]


def five_folds(dataset: Dataset) -> tuple[Path, tuple[str, ...]]:
    """A run that holds five, and the hashes of its weights."""
    folder = Path("runs/five")
    made = [trained(folder / f"fold{n}", dataset, weights=bytes([n])) for n in range(5)]
    ended = {"steps": 30, "best": 0.75, "seconds": 180.0, "max_seconds": None}
    finished = {f"fold{number}": ended for number in range(5)}
    (folder / "folds.json").write_text(json.dumps({"finished": finished}))
    return folder, tuple(run.weights_digest for run in made)


def calibrated(weights: tuple[str, ...]) -> CalibrationFile:
    usual = ReferenceRanges(scans=8, volume_ml={}, most_parts=1, intensity=None, border_mm=None)
    before = CalibrationFigures(spearman=-0.25, dice_error=0.125, ece=0.0625)
    after = CalibrationFigures(
        spearman=None,
        dice_error=0.03125,
        ece=0.015625,
        bias=-0.0078125,
        inside=0.75,
        dice=0.8,
        cases=5,
        masks=9,
    )
    organ = ClassCalibration(
        calibration=TemperatureScaling(temperature=0.75), usual=usual, before=before, after=after
    )
    organs = dict.fromkeys(tiny.CLASSES, organ)
    return CalibrationFile(weights=weights, scans=9, cases=3, before=before, after=after, organs=organs)


@pytest.mark.parametrize("named", ["five", "five/fold0"])
def test_calibration_and_tuning_are_told_once_for_five_folds_and_for_each_of_them(dataset, named):
    folder, weights = five_folds(dataset)
    calibrated(weights).write(folder)
    tuned(weights=weights).write(folder)

    text = text_of(named)

    assert titles(text)[:2] == ["Calibration", "What tuning changed"]
    assert text.count("<h3>9 scans of 3 cases</h3>") == 1
    rows = re.search(r"<h2>Calibration</h2>.*?</section>", text)[0].split("<tr>")[2:]
    told = ["0.75", "−0.25 → –", "0.125 → 0.031", "– → −0.008", "0.062 → 0.016", "75%"]
    assert re.findall(r"<span>([^<]+)</span>", rows[0]) == ["large_bowel", *told]
    assert re.findall(r"<span>([^<]+)</span>", rows[-1]) == ["all", "–", *told[1:]]
    assert "stomach: confidence ranks nothing here: the 9 masks of validation had a Dice of 0.80" in text
    assert "The tuned steps are better" in text


def test_what_was_found_for_other_weights_is_not_told(dataset):
    folder, weights = five_folds(dataset)
    calibrated(weights[1:]).write(folder)
    tuned(weights=weights[1:]).write(folder)

    assert titles(text_of("five/fold0"))[0] == "Learning"
    assert "<h3>five/fold1, five/fold2, five/fold3, five/fold4: 9 scans of" in text_of("five")


@pytest.mark.parametrize("name", ["calibration.json", "tune.json"])
def test_a_foreign_file_beside_a_run_is_told_and_stops_nothing(dataset, name):
    run = trained(Path("runs/tiny"), dataset)
    (run.folder / name).write_text('{"scale": 1.25}')

    done = report("tiny")

    assert any(note.startswith(f"{run.folder / name}: ") for note in done.notes)
    assert titles(done.path.read_text(encoding="utf-8"))[0] == "Learning"


def test_what_the_first_weights_saw_is_told_where_a_run_is(dataset):
    run = trained(Path("runs/tiny"), dataset)
    first = TrainedOn(fitted=(run.facts.identity_of(SCANS[2]),), unknown=("bundle/model.pt",))
    run.facts.model_copy(update={"inherited": first}).write(run.folder)

    notes = report("tiny").notes

    assert any(f"had seen scans kept from it, whose scores are too good: {SCANS[2]}" in n for n in notes)
    assert any(note.endswith("began with saw: bundle/model.pt.") for note in notes)


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
        predicted.record(out, scan, weights=run.weights_digest)
    assert "Config of tiny" in text_of(out)

    (run.folder / BEST).write_bytes(b"other weights")
    text = text_of(out)

    assert "Config of tiny" not in text
    assert "The run tiny is not under runs, or has other weights by now" in text


def test_five_folds_are_reported_with_their_masks(dataset, out):
    folder, _ = five_folds(dataset)
    out.rename(folder / "out_of_fold")

    text = text_of("five")

    assert listed(text) == list(reversed(SCANS))
    assert "Config of five/fold0, five/fold1, five/fold2, five/fold3, five/fold4" in text
    assert text.count('class="curve plain"') == 3 * 5  # loss, Dice and learning rate
    assert (folder / "scores.csv").is_file()


def test_scores_are_made_where_they_are_missing_or_out_of_date_and_only_there(dataset, out, monkeypatch):
    report(str(out))
    made = (out / "summary.json").stat().st_mtime_ns
    with monkeypatch.context() as patched:
        patched.setattr("volseg.evaluation.evaluate_work.score_scan", None)
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

    assert cli.run_command(["report", name]) == 1

    assert "name a folder of masks, or one that `volseg train` wrote" in capsys.readouterr().err


def test_other_classes_are_named(out, capsys):
    record = json.loads((out / SCANS[0] / "record.json").read_text())
    (out / SCANS[0] / "record.json").write_text(json.dumps({**record, "classes": ["liver"]}))

    assert cli.run_command(["report", str(out)]) == 1

    assert (
        "case1_day0: has the classes liver; data/prepared has large_bowel, stomach" in capsys.readouterr().err
    )


def test_masks_on_another_grid_are_named_with_truth_and_without(dataset, out):
    masks = np.zeros((3, 3, 3), np.uint8)
    write_volume(Volume(masks, tiny.AFFINE), out / SCANS[0] / "stomach.nii.gz")
    with pytest.raises(UserError, match=r"case1_day0/stomach\.nii\.gz: lies on another grid \(shape 3x3x3"):
        report(str(out))

    change(dataset, SCANS[0], labels=None)
    with pytest.raises(UserError, match=r"case1_day0/stomach\.nii\.gz: lies on another grid"):
        report(str(out))


def test_a_dataset_that_was_named_must_hold_the_scans(out, tmp_path):
    other = tiny.write(tmp_path / "other", cases=1, days=1)
    change(other, SCANS[0], name="case7_day0", case="case7")

    with pytest.raises(UserError, match="holds none of the predicted scans"):
        report(str(out), data=other.folder)


def test_scans_that_the_dataset_lacks_are_named(dataset, out):
    Dataset(dataset.folder, dataset.facts.model_copy(update={"samples": dataset.samples[:2]})).save()

    text = text_of(out)

    assert f"{', '.join(SCANS[2:])}: not scored: not in data/prepared." in text
    assert listed(text) == [SCANS[1], SCANS[0], *SCANS[2:]]


def test_a_folder_is_no_page(out, tmp_path, capsys):
    assert cli.run_command(["report", str(out), "--out", str(tmp_path)]) == 1

    assert f"--out {tmp_path}: is a folder; name a file in it" in capsys.readouterr().err


def test_the_command_tells_what_it_wrote(out, capsys):
    assert cli.run_command(["report", "--out", "new/page.html"]) == 0

    said = capsys.readouterr()
    assert said.out == "new/page.html: 68 kB, 4 scans to look at\n"
    assert "note: The run tiny is not under runs" in said.err


def test_masks_of_another_tool_are_reported_with_pictures_and_scores(dataset, tmp_path):
    folder = Path("other")
    for shift, scan in enumerate(SCANS[:2]):
        for name, mask in zip(tiny.CLASSES, dataset.labels(dataset.select_samples(scan)[0]), strict=True):
            moved = np.roll(mask, shift, axis=0).astype(np.uint8)
            write_volume(Volume(moved, tiny.AFFINE), folder / scan / f"{name}.nii.gz")

    result = report(str(folder), out=tmp_path / "page.html")

    text = (tmp_path / "page.html").read_text()
    assert result.drawn == 2
    assert "unknown whether training saw them" in text
    assert "Unseen" not in text
    assert "unknown" in text.partition("<h3>Masks</h3>")[2].partition("</table>")[0]
    assert "confidence" not in text.partition("<script")[0].lower()
    assert any("what made these masks" in note for note in result.notes)
    assert score_files.read(folder)["case1_day0"].values["stomach"]["Dice"] == 1
    (folder / "summary.json").write_text("{}")  # another program's
    report(str(folder), out=tmp_path / "page.html")
    assert (folder / "summary.json").read_text() == "{}"


def test_masks_of_another_tool_can_not_be_reported_without_their_dataset(dataset, monkeypatch, tmp_path):
    write_volume(Volume(np.zeros(tiny.SHAPE, np.uint8), tiny.AFFINE), tmp_path / "other/case1_day0.nii.gz")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    with pytest.raises(UserError, match="name the dataset of their scans by --data"):
        report(str(tmp_path / "other"))


def test_a_file_that_is_no_page_is_refused_before_the_work(dataset, out, monkeypatch):
    monkeypatch.setattr(stage, "find_source", None)
    Path("thesis.html").write_text("<html>my thesis</html>")

    with pytest.raises(UserError, match=r"--out thesis\.html: exists and is no page by volseg"):
        report(str(out), out=Path("thesis.html"))

    assert Path("thesis.html").read_text() == "<html>my thesis</html>"


def test_masks_that_cannot_be_written_beside_are_scored_on_the_page_alone(dataset, out, monkeypatch):
    def refuse(_scores, folder):
        raise OutputError(f"{folder}/scores.csv: can't be written: the file system is read-only")

    monkeypatch.setattr(stage.score_files, "write", refuse)
    done = report(str(out), data=dataset.folder)

    assert not (out / "scores.csv").exists()
    assert "The scores are on this page only: predictions/scores.csv: can't be written" in done.notes[-1]
    assert "0.9" in done.path.read_text()
