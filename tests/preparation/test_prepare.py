import csv
import errno
import hashlib
import json
import os
import re
import signal
import subprocess
import sys

import nibabel
import numpy as np
import pytest

from tests.raw import CLASSES, COLUMNS, ROWS, SCANS, Raw, pixels, png
from volseg import cli, errors
from volseg.arguments import PrepareArguments
from volseg.data import volume_files
from volseg.data.dataset import Dataset
from volseg.data.layouts.gi_tract.writer import write_phantom_mark
from volseg.data.volume import Volume
from volseg.errors import UserError
from volseg.preparation.prepare import prepare

BAD, GOOD = SCANS[0], SCANS[1:]
SLICE = "slice_0001_266_266_1.50_1.50.png"
PATH, AGAIN = f"scans/{SLICE}", "copy or download the file again"
RUN = "run-length text: run"


@pytest.fixture
def raw(tmp_path):
    return Raw(tmp_path / "raw")


def run(raw, **settings):
    out = raw.root.parent / "prepared"
    return prepare(raw.root, options=PrepareArguments(out=out, **{"workers": 1, **settings}))


def refusal(raw, **settings):
    with pytest.raises(UserError) as caught:
        run(raw, **settings)
    return str(caught.value)


def written(raw):
    out = raw.root.parent / "prepared"
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())


def touch_all(raw):
    """Make every slice look changed, so that nothing of an earlier run counts as done."""
    for path in raw.root.rglob("*.png"):
        os.utime(path, (1, 1))


def files_of(scans):
    images = [f"images/{scan}.nii.gz" for scan in scans]
    labels = [f"labels/{scan}/{organ}.nii.gz" for scan in scans for organ in CLASSES]
    records = [f"records/{scan}.json" for scan in scans]
    return sorted(["dataset.json", *images, *labels, *records])


# What is right


def test_a_prepared_dataset_holds_the_pixels_masks_and_grid_of_every_scan(raw):
    prepared = run(raw)

    assert prepared.scans == SCANS
    assert prepared.failures == ()
    assert written(raw) == files_of(SCANS)
    dataset = Dataset.load(prepared.out)
    assert dataset.facts.classes == CLASSES
    assert (dataset.facts.exclusive, dataset.facts.channels) == (False, ("mr",))
    for sample in dataset.samples:
        image = dataset.image(sample)
        assert image.voxels.dtype == np.uint16
        assert image.spacing_mm == pytest.approx((1.5, 1.63, 3.0))
        for z, number in enumerate(sample.slices):
            np.testing.assert_array_equal(image.voxels[:, :, z].T, raw.images[sample.name, number])
        assert dataset.labels(sample).sum(axis=(1, 2, 3)).tolist() == [0, 2, 3]


def test_dataset_json_tells_where_each_sample_comes_from(raw):
    sample = json.loads((run(raw).out / "dataset.json").read_text())["samples"][1]

    assert len(sample.pop("image_hash")) == 32
    assert sample == {
        "case": "case1",
        "day": 5,
        "name": "case1_day5",
        "part": "train",
        "source": str(raw.folder("case1_day5")),
        "images": ["images/case1_day5.nii.gz"],
        "labels": {organ: f"labels/case1_day5/{organ}.nii.gz" for organ in CLASSES},
        "shape": [9, 7, 5],
        "spacing_mm": [1.5, 1.63, 3.0],
        "slices": [11, 12, 13, 14, 15],
        "excluded": False,
    }


def test_labels_are_uint8_of_zeros_and_ones_on_the_grid_of_the_image(raw):
    out = run(raw).out
    image = nibabel.load(out / f"images/{BAD}.nii.gz")

    for organ in CLASSES:
        labels = nibabel.load(out / f"labels/{BAD}/{organ}.nii.gz")
        assert labels.get_data_dtype() == np.uint8
        assert set(np.unique(np.asarray(labels.dataobj))) <= {0, 1}
        np.testing.assert_array_equal(labels.affine, image.affine)


def test_the_number_of_workers_changes_no_byte(raw):
    def hashes(workers):
        out = run(raw, workers=workers).out
        return {name: hashlib.sha256((out / name).read_bytes()).digest() for name in written(raw)}

    assert hashes(1) == hashes(2)


def test_progress_counts_every_scan(raw):
    told = []
    prepare(
        raw.root,
        options=PrepareArguments(out=raw.root / "out", workers=1),
        on_scan=lambda *counts: told.append(counts),
    )

    assert told == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


def test_check_reads_everything_and_writes_nothing(raw):
    damaged = raw.path(BAD, 13)
    damaged.write_bytes(b"")
    raw.rows[f"{GOOD[0]}_slice_0011", "stomach"] = "1 2 3"
    raw.save()

    prepared = run(raw, check=True)

    assert prepared.scans == GOOD[1:]
    assert [failure.name for failure in prepared.failures] == [BAD, GOOD[0]]
    assert not prepared.out.exists()


def test_check_tells_faults_of_the_whole_and_of_scans_at_once(raw):
    raw.path(BAD, 13).write_bytes(b"")
    raw.rows[f"{GOOD[0]}_slice_0011", "spleen"] = ""
    raw.save()

    told = run(raw, check=True)

    assert "unknown class 'spleen'" in told.problems[0]
    assert "zero bytes" in told.failures[0].reason


def test_a_run_over_an_earlier_one_leaves_only_what_is_true_now(raw):
    run(raw)
    raw.path(BAD, 13).write_bytes(b"")

    prepared = run(raw)

    assert [sample.name for sample in Dataset.load(prepared.out).samples] == list(GOOD)


def test_a_run_that_can_use_no_scan_leaves_an_earlier_one_as_it_was(raw):
    out = run(raw).out
    before = (out / "dataset.json").read_bytes()
    for scan in SCANS:
        raw.path(scan, 13).write_bytes(b"")

    refusal(raw)

    assert (out / "dataset.json").read_bytes() == before


def test_half_written_files_of_a_killed_run_are_swept_away(raw):
    out = raw.root.parent / "prepared"
    (out / "labels/case9_day0").mkdir(parents=True)
    (out / "labels/case9_day0/.partial-1-stomach.nii.gz").write_bytes(b"half")
    (out / ".partial-1-dataset.json").write_bytes(b"half")

    run(raw)

    assert written(raw) == files_of(SCANS)


# Excluded scans


def test_the_authors_bad_scans_are_prepared_and_flagged_and_absent_ones_noted(raw):
    (raw.root / "train/case1").rename(raw.root / "train/case7")
    for day in ("day0", "day5"):
        (raw.root / f"train/case7/case1_{day}").rename(raw.root / f"train/case7/case7_{day}")
    raw.csv.unlink()

    prepared = run(raw)

    assert prepared.excluded == ("case7_day0",)
    flags = {sample.name: sample.excluded for sample in Dataset.load(prepared.out).samples}
    assert flags["case7_day0"]
    assert sum(flags.values()) == 1
    absent = [note for note in prepared.notes if "author excludes" in note]
    assert len(absent) == 1
    assert "case81_day30" in absent[0]
    assert "case7_day0" not in absent[0]


def test_of_scans_that_are_all_not_on_the_authors_list_nothing_is_noted(raw):
    """They may be other slices in the competition's form."""
    assert not run(raw).notes


def test_the_authors_list_is_not_of_other_classes(raw):
    (raw.root / "train/case1").rename(raw.root / "train/case7")
    for day in ("day0", "day5"):
        (raw.root / f"train/case7/case1_{day}").rename(raw.root / f"train/case7/case7_{day}")
    raw.csv.unlink()

    prepared = run(raw, classes=("liver", "stomach"))

    assert prepared.excluded == ()
    assert not any("author excludes" in note for note in prepared.notes)
    assert not Dataset.load(prepared.out).facts.is_competition


@pytest.mark.parametrize("synthetic", [True, False])
def test_a_phantom_is_known_to_be_synthetic(raw, synthetic):
    if synthetic:
        write_phantom_mark(raw.root)
    facts = Dataset.load(run(raw).out).facts

    assert facts.synthetic == synthetic
    assert facts.is_competition


@pytest.mark.parametrize(
    ("name", "flagged"), [("case2", SCANS[2:]), ("case2_day5", SCANS[3:]), (BAD, SCANS[:1])]
)
def test_the_user_excludes_a_scan_or_all_days_of_a_case(raw, name, flagged):
    assert run(raw, exclude=(name,)).excluded == flagged


def test_an_exclude_that_matches_nothing_is_refused_with_the_nearest_name(raw):
    message = refusal(raw, exclude=("case1_day50", "zebra"))

    assert message.splitlines() == [
        "--exclude case1_day50: no such case or scan, did you mean case1_day5?",
        "--exclude zebra: no such case or scan",
    ]


# Faults of one scan: the others are prepared


def image_fault(place, text, cure=""):
    """What a fault of slice 13's file should be told as."""
    return f"{place.path(BAD, 13)}: {text}{cure and '; ' + cure}"


def replace_png(array):
    return lambda raw: raw.path(BAD, 13).write_bytes(png(array))


def remove(*numbers):
    return lambda raw: [raw.path(BAD, number).unlink() for number in numbers]


def rename(number, name):
    return lambda raw: raw.path(BAD, number).rename(raw.path(BAD, number).with_name(name))


def set_row(text, organ="stomach", number=13):
    def spoil(raw):
        raw.rows[f"{BAD}_slice_{number:04d}", organ] = text
        raw.save()

    return spoil


def damage(raw):
    path = raw.path(BAD, 13)
    data = bytearray(path.read_bytes())
    data[60] ^= 255
    path.write_bytes(data)


def cut(raw):
    path = raw.path(BAD, 13)
    path.write_bytes(path.read_bytes()[:-5])


def duplicate(raw):
    again = raw.path(BAD, 13).with_name("slice_013_9_7_1.50_1.63.png")
    again.write_bytes(raw.path(BAD, 13).read_bytes())


def drop_rows(raw, *, organs=CLASSES):
    for organ in organs:
        del raw.rows[f"{BAD}_slice_0013", organ]
    raw.save()


def double_row(raw):
    raw.csv.write_text(raw.csv.read_text() + f"{BAD}_slice_0013,stomach,\n")


def unreadable(raw):
    path = raw.path(BAD, 13)
    path.unlink()
    path.mkdir()


def elsewhere(raw):
    raw.folder(BAD).rename(raw.root / "train/case2" / BAD)


ROW = "{csv}: case1_day0_slice_0013, stomach: "
SCAN_FAULTS = {
    "zero bytes": (
        lambda raw: raw.path(BAD, 13).write_bytes(b""),
        "{slice}: zero bytes; " + AGAIN,
    ),
    "truncated": (cut, "{slice}: truncated; " + AGAIN),
    "damaged": (damage, "{slice}: damaged (checksum of 'IDAT' differs); " + AGAIN),
    "no PNG": (
        lambda raw: raw.path(BAD, 13).write_bytes(b"<html>404 not found</html>"),
        "{slice}: not a PNG; expected a 16-bit greyscale PNG",
    ),
    "unreadable": (unreadable, "{slice}: can't be read: Is a directory; expected a PNG"),
    "8-bit": (
        replace_png(np.zeros((ROWS, COLUMNS), np.uint8)),
        "{slice}: 8-bit greyscale; expected 16-bit greyscale",
    ),
    "RGB": (
        replace_png(np.zeros((ROWS, COLUMNS, 3), np.uint8)),
        "{slice}: 8-bit RGB; expected 16-bit greyscale",
    ),
    "16-bit RGB": (
        replace_png(np.zeros((ROWS, COLUMNS, 3), np.uint16)),
        "{slice}: 16-bit RGB; expected 16-bit greyscale",
    ),
    "size against name": (
        replace_png(pixels(1, (COLUMNS, ROWS))),
        ("{slice}: 7 columns x 9 rows, but its name says 9 x 7; "
        "re-download the scan or correct the name"),
    ),
    "different sizes": (
        rename(13, "slice_0013_7_9_1.50_1.63.png"),
        ("{scan}: slices of different sizes: 9x7 (slice_0011_9_7_1.50_1.63.png), "
        "7x9 (slice_0013_7_9_1.50_1.63.png); a scan has one"),
    ),
    "different pixel sizes": (
        rename(13, "slice_0013_9_7_1.63_1.50.png"),
        ("{scan}: slices of different pixel sizes: 1.5x1.63 mm (slice_0011_9_7_1.50_1.63.png), "
        "1.63x1.5 mm (slice_0013_9_7_1.63_1.50.png); a scan has one"),
    ),
    "odd name": (
        rename(13, "copy of slice 13.png"),
        "{scan}/scans/copy of slice 13.png: not the name of a slice; expected one like " + SLICE
        + "\n{scan}: slice 13 missing between 12 and 14; "
        "re-download the scan or pass --allow-gaps",
    ),
    "pixels of 0 mm": (
        rename(15, "slice_0015_9_7_0.00_1.63.png"),
        "{scan}/scans/slice_0015_9_7_0.00_1.63.png: not the name of a slice; expected one like "
        + SLICE,
    ),
    "one slice missing": (
        remove(13),
        "{scan}: slice 13 missing between 12 and 14; re-download the scan or pass --allow-gaps",
    ),
    "slices missing": (
        remove(12, 13, 14),
        ("{scan}: slices 12-14 missing between 11 and 15; "
        "re-download the scan or pass --allow-gaps"),
    ),
    "several holes": (
        remove(12, 14),
        ("{scan}: slices 12, 14 missing between 11 and 15; "
        "re-download the scan or pass --allow-gaps"),
    ),
    "number twice": (
        duplicate,
        ("{scan}: slice number 13 twice (slice_0013_9_7_1.50_1.63.png and "
        "slice_013_9_7_1.50_1.63.png); keep one of them"),
    ),
    "no slices": (remove(11, 12, 13, 14, 15), "{scan}: no slices; expected " + PATH),
    "in another case's folder": (
        elsewhere,
        "{root}/train/case2/case1_day0: lies in the folder of case2; expected case2_day<number>",
    ),
    "odd RLE": (
        set_row("1 2 3"),
        ROW + f"{RUN} 2 ('3'): has no length; expected pairs of start and length",
    ),
    "RLE with a control character": (
        set_row("1\x1b 2"),
        ROW + f"{RUN} 1 ('1\\x1b 2'): is not two whole numbers",
    ),
    "RLE of 5000 digits": (
        set_row("1 " + "9" * 5000),
        ROW + f"{RUN} 1 ('1 99999999999999999999'): is not two whole numbers",
    ),
    "non-numeric RLE": (set_row("1 2 x 4"), ROW + f"{RUN} 2 ('x 4'): is not two whole numbers"),
    "0-based RLE": (
        set_row("0 2"),
        ROW + f"{RUN} 1 ('0 2'): starts below 1; starts are counted from 1",
    ),
    "RLE out of range": (
        set_row("62 3"),
        ROW + f"{RUN} 1 ('62 3'): ends past the last of 63 pixels (9 columns x 7 rows)",
    ),
    "overlapping RLE": (
        set_row("1 5 3 2"),
        ROW + f"{RUN} 2 ('3 2'): starts before or within an earlier run, which ends at 5; "
        "runs must be in order",
    ),
    "unsorted RLE": (
        set_row("20 5 3 2"),
        ROW + f"{RUN} 2 ('3 2'): starts before or within an earlier run, which ends at 24; "
        "runs must be in order",
    ),
    "image without rows": (
        drop_rows,
        ("{csv}: image without row: case1_day0_slice_0013 large_bowel, "
        "case1_day0_slice_0013 small_bowel, case1_day0_slice_0013 stomach; "
        "expected a row a slice and class"),
    ),
    "a class without row": (
        lambda raw: drop_rows(raw, organs=["small_bowel"]),
        ("{csv}: image without row: case1_day0_slice_0013 small_bowel; "
        "expected a row a slice and class"),
    ),
    "row twice": (double_row, "{csv}: row twice: case1_day0_slice_0013 stomach; keep one"),
}  # fmt: skip


@pytest.mark.parametrize("fault", SCAN_FAULTS)
def test_a_fault_of_one_scan_is_told_and_spoils_only_that_scan(raw, fault):
    spoil, expected = SCAN_FAULTS[fault]
    spoil(raw)
    reason = expected.format(slice=raw.path(BAD, 13), scan=raw.folder(BAD), csv=raw.csv, root=raw.root)

    strictly = refusal(raw, strict=True)
    nothing_written = written(raw) == []
    prepared = run(raw)

    assert prepared.failures == ((BAD, reason),)
    assert prepared.scans == GOOD
    assert written(raw) == files_of(GOOD)
    dataset = Dataset.load(prepared.out)
    assert [sample.name for sample in dataset.samples] == list(GOOD)
    assert [(one.name, one.part, one.reason) for one in dataset.facts.failed] == [(BAD, "train", reason)]
    assert strictly == reason
    assert nothing_written


def test_the_dataset_tells_the_slices_of_scans_that_could_not_be_prepared(raw):
    """Of one whose pixels are damaged, and of one whose names make no stack."""
    raw.path(SCANS[0], 13).write_bytes(raw.path(SCANS[0], 13).read_bytes()[:40])
    raw.path(SCANS[1], 13).unlink()

    failed = {one.name: one.slices for one in Dataset.load(run(raw).out).facts.failed}

    assert failed == {SCANS[0]: (11, 12, 13, 14, 15), SCANS[1]: (11, 12, 14, 15)}


def test_one_part_can_be_prepared_and_the_other_is_not_read(raw):
    """The test part is in the competition's layout, without rows of its own."""
    (raw.root / "test").mkdir()
    (raw.root / "train" / "case2").rename(raw.root / "test" / "case2")
    raw.path(BAD, 13).write_bytes(b"")

    test = run(raw, part="test")

    assert (test.scans, test.failures) == (SCANS[2:], ())
    assert {sample.part for sample in Dataset.load(test.out).samples} == {"test"}
    assert not test.notes
    train = run(raw, part="train")
    assert (train.scans, [failure.name for failure in train.failures]) == (SCANS[1:2], [BAD])


@pytest.mark.parametrize("there", ["train", "sample_submission.csv", "test"])
def test_without_test_scans_their_part_is_an_empty_dataset_and_a_note_says_so(tmp_path, there):
    """In public the competition's folder has train scans, a sample of a header only, and no test folder."""
    root = tmp_path / "competition"
    root.mkdir()
    if there == "train":
        Raw(root)
    elif there == "test":
        (root / "test").mkdir()
    else:
        (root / there).write_text("id,class,predicted\n")

    prepared = prepare(root, options=PrepareArguments(out=tmp_path / "prepared", part="test", workers=1))

    assert (prepared.scans, prepared.failures, prepared.problems) == ((), (), ())
    assert prepared.notes == (
        f"{root}: no test scans, so nothing is prepared (the competition hides them until it scores)",
    )
    assert Dataset.load(tmp_path / "prepared").samples == ()
    assert cli.run_command(["prepare", str(root), "--part", "test", "--out", str(tmp_path / "prepared")]) == 0


def test_a_folder_that_is_not_the_competitions_is_refused_whatever_the_part(tmp_path):
    with pytest.raises(UserError, match="no cases; expected train/case123"):
        prepare(tmp_path, options=PrepareArguments(out=tmp_path / "prepared", part="test"))


def test_an_empty_case_is_told_and_spoils_only_that_case(raw):
    (raw.root / "train" / "case7").mkdir()

    prepared = run(raw)

    place = raw.root / "train" / "case7"
    reason = f"{place}: no scans; expected case7_day0/{PATH}"
    assert prepared.failures == (("case7", reason),)
    assert prepared.scans == SCANS
    assert refusal(raw, strict=True) == reason


def test_all_faulty_slices_and_masks_of_a_scan_are_told_at_once(raw):
    raw.path(BAD, 11).write_bytes(b"")
    raw.path(BAD, 15).write_bytes(b"")
    set_row("1 2 3")(raw)

    ((name, reason),) = run(raw).failures

    assert name == BAD
    assert [line.partition(": ")[0] for line in reason.splitlines()] == [
        str(raw.path(BAD, 11)),
        str(raw.path(BAD, 15)),
        str(raw.csv),
    ]


def test_of_many_faults_the_first_ten_are_told_and_the_others_counted(raw):
    raw.csv.write_text(
        raw.csv.read_text()
        + "".join(f"{BAD}_slice_{n:04d},{organ},\n" for n in range(11, 15) for organ in CLASSES)
    )

    ((_, reason),) = run(raw).failures

    assert reason.count("case1_day0_slice_") == 10
    assert "... and 2 more like it" in reason


def test_where_every_scan_is_faulty_all_are_told_and_nothing_is_written(raw):
    for scan in SCANS:
        raw.path(scan, 13).write_bytes(b"")

    message = refusal(raw)

    assert message.splitlines() == [f"{raw.path(scan, 13)}: zero bytes; {AGAIN}" for scan in SCANS]
    assert written(raw) == []


def test_allow_gaps_stacks_the_slices_there_are_and_warns(raw):
    raw.path(BAD, 13).unlink()

    prepared = run(raw, allow_gaps=True)

    assert prepared.failures == ()
    (sample,) = Dataset.load(prepared.out).select_samples(BAD)
    assert sample.slices == (11, 12, 14, 15)
    assert prepared.notes[0] == (
        f"{raw.folder(BAD)}: slice 13 missing between 12 and 14; "
        "the other slices are stacked as if they touched"
    )


def test_a_training_scan_without_any_row_is_prepared_without_labels_and_noted(raw):
    raw.rows = {key: text for key, text in raw.rows.items() if not key[0].startswith(BAD)}
    raw.save()

    prepared = run(raw)

    assert Dataset.load(prepared.out).select_samples(BAD)[0].labels is None
    assert prepared.failures == ()
    assert prepared.notes[0] == f"{raw.csv}: no rows for {BAD}; prepared without labels"


# Faults of the whole dataset: nothing is written


def all_gone(raw):
    raw.root.rename(raw.root.parent / "moved")


def no_cases(raw):
    (raw.root / "train").rename(raw.root.parent / "moved")
    (raw.root / "train").mkdir()


def both_parts(raw):
    other = raw.root / "test/case1" / BAD
    other.parent.mkdir(parents=True)
    other.symlink_to(raw.folder(BAD))


def add_row(name, organ="stomach"):
    def spoil(raw):
        raw.rows[name, organ] = ""
        raw.save()

    return spoil


EXPECTED = f"expected train/case123/case123_day20/{PATH}"
WHOLE_FAULTS = {
    "missing folder": (all_gone, f"{{root}}: no such folder; {EXPECTED}"),
    "no cases": (no_cases, f"{{root}}: no cases; {EXPECTED}"),
    "missing column": (
        lambda raw: raw.save(header="id,class,rle"),
        "{csv}: no column segmentation; expected id,class,segmentation, found id,class,rle",
    ),
    "semicolons": (
        lambda raw: raw.csv.write_text(raw.csv.read_text().replace(",", ";")),
        "{csv}: no column id, class, segmentation; "
        "expected id,class,segmentation, found id;class;segmentation, with ';' between columns: "
        "save it with commas",
    ),
    "a quote without its end": (
        lambda raw: raw.csv.write_text(raw.csv.read_text().replace(",1 2", ',"1 2', 1)),
        "{csv}: not a readable CSV file (unexpected end of data); "
        "expected UTF-8 text with the columns id,class,segmentation",
    ),
    "a field without end": (
        lambda raw: raw.csv.write_text(raw.csv.read_text() + "1 " * 70_000),
        "{csv}: not a readable CSV file (field larger than field limit (131072)); "
        "expected UTF-8 text with the columns id,class,segmentation",
    ),
    "empty file": (
        lambda raw: raw.csv.write_text(""),
        "{csv}: no column id, class, segmentation; expected id,class,segmentation, found nothing",
    ),
    "no text": (
        lambda raw: raw.csv.write_bytes(b"id,class,segmentation\n\xff\xfe\n"),
        (
            "{csv}: not a readable CSV file (line 2: 'utf-8' codec can't decode byte 0xff in "
            "position 0: invalid start byte); expected UTF-8 text with the columns id,class,segmentation"
        ),
    ),
    "short line": (
        lambda raw: raw.csv.write_text(raw.csv.read_text() + "case1_day0_slice_0011,stomach\n"),
        "{csv}: line 62 has 2 fields; expected 3",
    ),
    "unknown class": (
        add_row(f"{BAD}_slice_0013", "stomache"),
        (
            "{csv}: unknown class 'stomache' on 1 rows, did you mean stomach?; "
            "expected large_bowel, small_bowel, stomach"
        ),
    ),
    "no id": (
        add_row("case1_slice_0013"),
        ("{csv}: id 'case1_slice_0013' on 1 rows is none; expected one like case123_day20_slice_0001"),
    ),
    "in both parts": (
        both_parts,
        (
            "case1_day0: is in {root}/train/case1/case1_day0 and {root}/test/case1/case1_day0; "
            "keep one of them"
        ),
    ),
}


@pytest.mark.parametrize("fault", WHOLE_FAULTS)
@pytest.mark.parametrize("mode", [{}, {"check": True}, {"strict": True}])
def test_a_fault_of_the_whole_dataset_is_told_and_nothing_is_written(raw, fault, mode):
    spoil, expected = WHOLE_FAULTS[fault]
    spoil(raw)
    found_by_check = mode == {"check": True} and fault not in ("missing folder", "no cases")

    told = "\n".join(run(raw, **mode).problems) if found_by_check else refusal(raw, **mode)

    assert told == expected.format(root=raw.root, csv=raw.csv)
    assert written(raw) == []


def test_all_faults_of_the_whole_dataset_are_told_at_once(raw):
    for name in ("x", "case1-day0-slice-11", "case1-day0-slice-12"):
        raw.rows[name, "stomach"] = ""
    raw.rows[f"{BAD}_slice_0013", "spleen"] = ""
    raw.save()

    lines = refusal(raw).splitlines()

    assert [re.sub(r".*?: |[;,].*", "", line) for line in lines] == [
        "id 'x' on 1 rows is none",
        "id 'case1-day0-slice-11' and 1 like it on 2 rows is none",
        "unknown class 'spleen' on 1 rows",
    ]


def test_rows_of_scans_that_are_not_here_are_one_warning_and_the_others_are_prepared(raw):
    before = run(raw)
    for name in ("case98_day0_slice_0013", "case99_day0_slice_0013", "case1_day7_slice_0001"):
        raw.rows[name, "stomach"] = ""
    raw.save()

    done = run(raw)

    assert (done.scans, done.failures, done.problems) == (before.scans, (), ())
    (warning,) = [one for one in done.findings if one.severity == "warning"]
    assert warning.message == (
        f"{raw.csv}: has rows of 2 cases (case98, case99) and 1 scan (case1_day7) without a folder; "
        "they are left out"
    )


def test_a_scan_that_is_only_partly_here_is_prepared_with_a_warning(raw):
    remove(11, 15)(raw)

    done = run(raw)

    assert done.failures == ()
    assert Dataset.load(done.out).select_samples(BAD)[0].slices == (12, 13, 14)
    (warning,) = [one for one in done.findings if one.severity == "warning"]
    assert (warning.scan, warning.kind, warning.slices) == (BAD, "rows without image", (11, 15))


@pytest.mark.parametrize("empty", ["nan", "NaN", "None", "null", "NA", "   ", '"nan"', '""'])
def test_what_tables_write_for_nothing_is_an_empty_mask(raw, empty):
    text = raw.csv.read_text()
    plain = run(raw)
    masks = {name: (plain.out / name).read_bytes() for name in written(raw) if name.startswith("labels")}
    raw.csv.write_text(
        "\n".join(f"{line}{empty}" if line.endswith(",") else line for line in text.split("\n"))
    )

    again = run(raw)

    assert again.findings == plain.findings
    assert {name: (again.out / name).read_bytes() for name in masks} == masks


def test_a_table_may_have_a_mark_carriage_returns_quotes_and_other_columns(raw):
    plain = run(raw).findings
    rows = list(csv.reader(raw.csv.read_text().splitlines()))
    turned = [[str(number), *(f'"{cell}"' for cell in row[::-1])] for number, row in enumerate(rows)]
    turned[0] = ["", "segmentation", " class", "id "]
    raw.csv.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(",".join(row) for row in turned).encode())

    assert run(raw).findings == plain


def test_settings_that_make_no_sense_are_refused(raw):
    assert refusal(raw, layout="gi-tracts") == (
        "--layout: unknown name 'gi-tracts', did you mean gi-tract? (known: gi-tract, nifti, dicom)"
    )
    assert refusal(raw, workers=0) == "--workers 0: expected 1 or more"


def test_a_table_whose_lines_end_in_cr_is_refused_in_one_line(raw):
    raw.csv.write_bytes(raw.csv.read_bytes().replace(b"\n", b"\r"))

    message = refusal(raw)

    assert message.startswith(f"{raw.csv}: not a readable CSV file (")
    assert len(message.splitlines()) == 1


def test_a_slice_distance_of_nothing_is_refused_and_not_overlooked(raw):
    assert "slice_mm: Input should be greater than" in refusal(raw, slice_mm=0.0)


def test_a_source_whose_name_is_no_text_is_refused(raw):
    odd = raw.root.with_name(os.fsdecode(b"raw\xff"))
    raw.root.rename(odd)

    with pytest.raises(UserError, match="its name is no plain text; rename the folder"):
        prepare(odd, options=PrepareArguments(out=odd.parent / "prepared", workers=1))


def test_an_output_folder_that_is_a_file_is_refused(raw):
    out = raw.root.parent / "prepared"
    out.write_text("a file")

    assert refusal(raw) == (
        f"{out}: can't be written: a part of its path is a file; choose another output folder"
    )


# Faults of the machine


def test_a_full_disk_stops_the_command_and_leaves_nothing_half_written(raw, monkeypatch):
    run(raw)
    touch_all(raw)
    pack, count = volume_files.writing._compress_gzip, iter(range(100))

    def full(*parts):
        if next(count) == 5:
            yield b"half"
            raise OSError(errno.ENOSPC, "No space left on device")
        yield from pack(*parts)

    monkeypatch.setattr(volume_files.writing, "_compress_gzip", full)
    out = raw.root.parent / "prepared"
    path = out / "labels" / GOOD[0] / "large_bowel.nii.gz"

    with pytest.raises(errors.OutputError) as caught:
        run(raw)

    assert str(caught.value) == (
        f"{path}: can't be written: the disk is full; free some space and run the command again"
    )
    assert "dataset.json" not in written(raw)
    assert not [name for name in written(raw) if ".partial-" in name]


def test_ctrl_c_leaves_nothing_half_written_and_no_dataset(raw, monkeypatch):
    run(raw)
    touch_all(raw)
    pack, count = volume_files.writing._compress_gzip, iter(range(100))

    def interrupted(*parts):
        yield from pack(*parts)
        if next(count) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(volume_files.writing, "_compress_gzip", interrupted)

    with pytest.raises(KeyboardInterrupt):
        run(raw)

    assert "dataset.json" not in written(raw)
    assert not [name for name in written(raw) if ".partial-" in name]


INTERRUPTED = """
import os, signal, sys
from pathlib import Path
from volseg.preparation.prepare import PrepareArguments, prepare

if __name__ == "__main__":
    stop = lambda done, total: os.killpg(0, signal.SIGINT)
    try:
        prepare(Path(sys.argv[1]), options=PrepareArguments(out=Path(sys.argv[2]), workers=2), on_scan=stop)
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals of POSIX")
def test_ctrl_c_on_a_terminal_is_quiet_with_several_workers(raw, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(INTERRUPTED)
    command = [sys.executable, script, raw.root, raw.root.parent / "prepared"]

    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=60, start_new_session=True, check=False
    )

    assert ended.returncode == 130
    assert (ended.stdout, ended.stderr) == ("", "")
    assert "dataset.json" not in written(raw)
    assert not [name for name in written(raw) if ".partial-" in name]


# The real thing


def row_major(text, rows, columns):
    """The five-line reference: runs of 1-based pixels, counted row by row."""
    flat = np.zeros(rows * columns, dtype=bool)
    numbers = list(map(int, text.split()))
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        flat[start - 1 : start - 1 + length] = True
    return flat.reshape(rows, columns)


REAL = {"case47_day29": 120, "case119_day0": 14, "case139_day0": 117}
"""The masks that are drawn in each of the real scans."""


@pytest.fixture(scope="module")
def real(shared_data, tmp_path_factory):
    out = tmp_path_factory.mktemp("real")
    prepare(shared_data / "uwmgi_real", options=PrepareArguments(out=out, workers=1))
    return Dataset.load(out)


def test_the_real_scans_have_their_known_grids_parts_and_numbers(real):
    facts = {
        sample.name: (sample.shape, sample.spacing_mm, sample.slices[0], sample.slices[-1])
        for sample in real.samples
    }

    assert facts == {
        "case47_day29": ((360, 310, 78), (1.5, 1.5, 3.0), 32, 109),
        "case119_day0": ((360, 310, 26), (1.5, 1.5, 3.0), 110, 135),
        "case139_day0": ((234, 234, 108), (1.5, 1.5, 3.0), 27, 134),
    }
    assert real.select_samples("case139")[0].slices == tuple(range(27, 135))
    for sample in real.samples:
        np.testing.assert_array_equal(real.image(sample).affine, np.diag([-1.5, -1.5, -3, 1]))


@pytest.mark.parametrize("name", REAL)
def test_the_real_voxels_equal_the_pngs_read_by_another_library(real, shared_data, name):
    import SimpleITK

    (sample,) = real.select_samples(name)
    voxels = real.image(sample).voxels

    folder = shared_data / "uwmgi_real/train" / sample.case / name / "scans"
    for z, path in enumerate(sorted(folder.iterdir())):
        pixels_of = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path))
        np.testing.assert_array_equal(voxels[:, :, z].T, pixels_of)


@pytest.mark.parametrize(("name", "masks"), REAL.items())
def test_the_real_labels_equal_an_independent_decoding(real, shared_data, name, masks):
    (sample,) = real.select_samples(name)
    labels = real.labels(sample)

    with (shared_data / "uwmgi_real/train.csv").open() as file:
        drawn = [row for row in csv.DictReader(file) if row["segmentation"] and name in row["id"]]
    assert len(drawn) == masks
    for row in drawn:
        z = sample.slices.index(int(row["id"][-4:]))
        mask = labels[CLASSES.index(row["class"]), :, :, z].T
        np.testing.assert_array_equal(mask, row_major(row["segmentation"], *sample.shape[1::-1]))
    assert sum(labels.any(axis=(1, 2)).sum(axis=0)) == len(drawn)


def test_a_volume_of_the_real_data_is_written_without_scaling(real):
    image = nibabel.load(real.folder / "images/case139_day0.nii.gz")

    assert isinstance(real.image(real.select_samples("case139")[0]), Volume)
    assert image.get_data_dtype() == np.uint16
    assert image.header.get_slope_inter() in ((None, None), (1.0, 0.0))
    assert image.header.get_xyzt_units()[0] == "mm"
