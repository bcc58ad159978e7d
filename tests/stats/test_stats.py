"""`volseg stats`: what it prints and writes, and what it refuses."""

import io
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import nibabel
import numpy as np
import pytest
from rich.console import Console

from tests.raw import CLASSES, SCANS, Raw
from volseg import cli
from volseg.arguments import PrepareArguments
from volseg.data.dataset import Dataset
from volseg.errors import UserError
from volseg.preparation.prepare import prepare
from volseg.stats import stats
from volseg.stats.dataset_stats import DatasetStats
from volseg.stats.page import render_statistics as page
from volseg.stats.page.overview import class_rows
from volseg.stats.tables import overview_table

VOXEL_ML = 1.5 * 1.63 * 3 / 1000


@pytest.fixture
def raw(tmp_path):
    raw = Raw(tmp_path / "raw")
    raw.rows["case1_day5_slice_0013", "stomach"] = "20 3"  # 6 voxels on two slices
    raw.save()
    return raw


def prepared(raw, **settings):
    out = raw.root.parent / "prepared"
    prepare(raw.root, options=PrepareArguments(out=out, workers=1, **settings))
    return out


def test_volumes_slices_and_overlaps_are_those_of_the_masks(raw):
    found = stats.stats(prepared(raw))

    volumes = {scan.name: scan.organs["stomach"].volume_ml for scan in found.scans}
    assert volumes == pytest.approx(dict.fromkeys(SCANS, 3 * VOXEL_ML) | {SCANS[1]: 6 * VOXEL_ML})
    assert found.organs["stomach"].slice_share == 5 / 20
    assert found.organs["large_bowel"].scans == 0
    assert (found.slices.count, found.slices.empty) == (20, 15)
    assert [(one.one, one.other) for one in found.overlaps] == [("small_bowel", "stomach")]
    assert found.overlaps[0].share.median == 1 / 2
    assert (found.organs["stomach"].days.ratio.low, found.organs["stomach"].days.ratio.high) == (1, 2)


def test_volumes_are_the_voxels_of_the_label_files(raw):
    out = prepared(raw)
    found = {scan.name: scan for scan in stats.stats(out).scans}

    for sample in Dataset.load(out).samples:
        label = nibabel.load(out / sample.labels["small_bowel"])
        voxels = np.count_nonzero(np.asarray(label.dataobj))
        size = float(np.prod(label.header.get_zooms()))
        place = found[sample.name].organs["small_bowel"]
        assert place.volume_ml == pytest.approx(voxels * size / 1000, rel=1e-6)


def test_an_excluded_scan_is_named_and_left_out(raw):
    found = stats.stats(prepared(raw, exclude=(SCANS[1],)))

    assert found.excluded == (SCANS[1],)
    assert (len(found.scans), found.labelled, found.sizes.grids[0].scans) == (4, 3, 4)
    assert found.organs["stomach"].where.volume_ml.high == pytest.approx(3 * VOXEL_ML)
    assert found.intensities["mr"].levels["high"].count == 3
    assert f"Excluded scans are only in the sizes and spacings: {SCANS[1]}." in page(found)


@pytest.mark.slow
def test_volumes_of_real_scans_are_the_voxels_of_their_labels(shared_data, tmp_path):
    source = shared_data / "hippocampus"
    prepare(source, options=PrepareArguments(layout="nifti", out=tmp_path))

    found = stats.stats(tmp_path)

    listed = json.loads((source / "dataset.json").read_text())
    values = {name: int(value) for value, name in listed["labels"].items() if int(value)}
    for scan, entry in zip(found.scans, sorted_entries(listed), strict=True):
        label = np.asarray(nibabel.load(source / entry["label"]).dataobj)
        size = float(np.prod(scan.spacing_mm)) / 1000
        volumes = {name: place.volume_ml for name, place in scan.organs.items()}
        counted = {name: np.count_nonzero(label == value) for name, value in values.items()}
        assert volumes == pytest.approx({name: count * size for name, count in counted.items()})
    assert "Logarithmic scale." in page(found)  # some are a thousand times brighter than others


def sorted_entries(listed):
    """The entries of a Decathlon listing that have labels, in the order of their numbers."""

    def number(entry):
        return int(re.search(r"_(\d+)\.nii", entry["image"])[1])

    return sorted(listed["training"], key=number)


# The command


def test_the_json_holds_all_facts_and_nothing_else_is_on_stdout(raw, capsys):
    out = prepared(raw)

    assert cli.run_command(["stats", str(out), "--json"]) == 0

    said = capsys.readouterr()
    assert DatasetStats.model_validate_json(said.out) == stats.stats(out)
    assert [scan["name"] for scan in json.loads(said.out)["scans"]] == list(SCANS)
    assert said.err == f"{out / 'stats.html'}: the page of plots\n"
    assert (out / "stats.html").is_file()


def test_the_table_names_every_class_and_the_page(raw, tmp_path, capsys):
    path = tmp_path / "new" / "page.html"

    assert cli.run_command(["stats", str(prepared(raw)), "--out", str(path)]) == 0

    said = capsys.readouterr().out
    assert all(name in said for name in CLASSES)
    assert "4 scans of 2 cases: 4 with labels" in said
    assert "75 % of 20 show no class" in said
    assert said.endswith(f"{path}: the page of plots\n")
    assert path.read_text().startswith("<!doctype html>")


def test_no_name_and_no_number_of_a_class_is_folded_in_80_columns(raw):
    found = stats.stats(prepared(raw))
    console = Console(width=80, record=True, file=io.StringIO())

    console.print(overview_table(found))

    shown = console.export_text()
    assert "…" not in shown
    cells = [cell for row in class_rows(found) for cell in row]
    words = {
        word for cell in cells for word in cell.replace("|", " ").split(" ") if not word.startswith("voxel")
    }
    told = shown.replace(" ", "\u202f")
    assert not {word for word in words if word.replace(" ", "\u202f") not in told}


def test_without_a_dataset_or_records_it_says_what_to_do(raw, tmp_path, capsys):
    out = prepared(raw)
    (out / "records" / f"{SCANS[2]}.json").unlink()

    assert cli.run_command(["stats", str(out)]) == 1
    assert f"records: no record of {SCANS[2]}; run `volseg prepare` again" in capsys.readouterr().err
    assert cli.run_command(["stats", str(tmp_path / "nowhere")]) == 1
    assert "no dataset.json; make it with `volseg prepare" in capsys.readouterr().err
    assert not (out / "stats.html").exists()


def test_a_dataset_without_scans_is_refused(raw):
    out = prepared(raw)
    facts = Dataset.load(out).facts.model_copy(update={"samples": ()})
    Dataset(out, facts).save()

    with pytest.raises(UserError, match=r"dataset\.json: names no scan; run `volseg prepare` again"):
        stats.stats(out)


def test_a_folder_is_no_page(raw, tmp_path, capsys):
    assert cli.run_command(["stats", str(prepared(raw)), "--out", str(tmp_path)]) == 1
    assert f"--out {tmp_path}: is a folder; name a file in it" in capsys.readouterr().err


# The page


def odd(found: DatasetStats, kind: str) -> DatasetStats:
    """The same dataset as it would be without labels, with one scan, with other values ..."""
    scans = found.scans
    if kind == "unlabelled":
        bare = {"organs": None, "extent_mm": None, "empty_slices": None, "overlaps": {}}
        changed = {"labelled": 0, "organs": {}, "slices": None, "extent_mm": None, "overlaps": ()}
        return found.model_copy(update={**changed, "scans": tuple(s.model_copy(update=bare) for s in scans)})
    if kind == "bright":  # one scan is a thousand times brighter and has zeros
        levels = {level: 1000 * value for level, value in scans[0].intensities["mr"].items()}
        bright = scans[0].model_copy(update={"intensities": {"mr": {**levels, "p0.5": 0.0}}})
        return found.model_copy(update={"scans": (bright, *scans[1:])})
    if kind == "constant":
        levels = dict.fromkeys(scans[0].intensities["mr"], 0.0)
        flat = tuple(s.model_copy(update={"intensities": {"mr": levels}}) for s in scans)
        return found.model_copy(update={"scans": flat})
    return found


@pytest.fixture
def found(raw):
    return stats.stats(prepared(raw))


KINDS = ("usual", "unlabelled", "bright", "constant")


class Balance(HTMLParser):
    """Whether every element that is opened is closed again, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.faults = [], []

    def handle_starttag(self, tag, attrs):  # noqa: ARG002
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_is_whole_and_stands_by_itself(found, kind):
    text = page(odd(found, kind))
    balance = Balance()
    balance.feed(text)

    assert (balance.open, balance.faults) == ([], [])
    assert not re.search(r"https?:|//|<script|<link|<img|@import|url\(|src=|href=", text)
    assert not re.search(r"\b(nan|inf|None)\b", text)


def test_the_same_dataset_gives_the_same_bytes(raw):
    assert page(stats.stats(prepared(raw))) == page(stats.stats(prepared(raw)))


def test_the_page_names_every_class_and_scan(found):
    text = page(found)

    assert all(f"{name}</span>" in text for name in CLASSES)
    assert all(f"{scan}: 0.022 ml" in text for scan in (SCANS[0], *SCANS[2:]))
    assert f"{SCANS[1]}: 0.044 ml" in text


def test_days_are_drawn_for_cases_that_have_several(raw):
    text = page(stats.stats(prepared(raw, exclude=(SCANS[1],))))

    plot = re.search(r'<svg[^>]*aria-label="Volume of stomach on each day.*?</svg>', text)[0]
    assert re.findall(r"<title>(\w+):", plot) == list(SCANS[2:])


def test_an_unlabelled_dataset_has_no_plots_of_classes(found):
    text = page(odd(found, "unlabelled"))

    titles = re.findall(r"<h2>(.*?)</h2>", text)
    assert titles == ["Sizes and spacings", "Intensities"]
    assert "has labels, so there is nothing to say of classes." in text


def test_names_are_shown_as_they_are(found):
    text = page(found.model_copy(update={"name": "<b>&co"}))

    assert "<h1>&lt;b&gt;&amp;co</h1>" in text
    assert "<b>" not in text


@pytest.mark.parametrize("kind", KINDS)
def test_every_plot_is_told_in_words_and_no_mark_leaves_it(found, kind):
    plots = re.findall(r"<svg.*?</svg>", page(odd(found, kind)), re.DOTALL)

    assert len(plots) == (4 if kind == "unlabelled" else 13)
    for plot in map(ET.fromstring, plots):
        assert plot.get("role") == "img"
        assert len(plot.get("aria-label")) > 10
        _, _, width, height = map(float, plot.get("viewBox").split())
        for x, y in places(plot):
            assert -0.5 <= x <= width + 0.5
            assert -0.5 <= y <= height + 0.5


def places(plot):
    """The corners of all marks, and the ends of all words at 7.8 pixels a character."""
    for mark in plot.iter():
        at = {key: value for key, value in mark.attrib.items() if key != "class"}
        if mark.tag == "circle":
            yield float(at["cx"]), float(at["cy"])
        elif mark.tag == "rect":
            yield float(at["x"]), float(at["y"])
            yield (float(at["x"]) + float(at["width"]), float(at["y"]) + float(at["height"]))
        elif mark.tag == "path":
            yield from (tuple(map(float, one.split(","))) for one in at["d"].strip("MZ").split())
        elif mark.tag == "text" and at.get("text-anchor") == "end":
            yield float(at["x"]) - 7.8 * len(mark.text), float(at["y"])
        elif mark.tag == "text" and at.get("text-anchor") is None:
            yield float(at["x"]) + 7.8 * len(mark.text), float(at["y"])
