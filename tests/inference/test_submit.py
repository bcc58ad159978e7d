import csv
import gzip
import random
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from tests import predicted, tiny
from volseg import cli
from volseg.arguments import MaskOptions, PrepareArguments
from volseg.data.dataset import Dataset, FailedScan
from volseg.data.layouts.gi_tract import rle_csv
from volseg.data.layouts.gi_tract.rle import decode
from volseg.data.volume import Volume
from volseg.data.volume_files import write_volume
from volseg.errors import UserError
from volseg.evaluation.evaluate import evaluate
from volseg.inference.submit import submit
from volseg.preparation.prepare import prepare

HEADER = "id,class,predicted"


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Cases 2 and 10, two days each; the second days are the test part."""
    made = tiny.write(tmp_path / "data", cases=10, days=2)
    samples = [
        sample.model_copy(update={"part": "test" if sample.day else "train"})
        for sample in made.samples
        if sample.case in ("case2", "case10")
    ]
    facts = made.facts.model_copy(update={"samples": tuple(reversed(samples))})
    Dataset(made.folder, facts).save()
    return Dataset.load(made.folder)


@pytest.fixture
def out(dataset: Dataset, tmp_path: Path) -> Path:
    folder = tmp_path / "predictions"
    for sample in dataset.samples:
        predicted.write(folder, dataset, sample.name)
    return folder


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def every_key(scans: tuple[str, ...]) -> list[list[str]]:
    return [
        [f"{scan}_slice_{number:04d}", organ]
        for scan in scans
        for number in range(1, 11)
        for organ in tiny.CLASSES
    ]


def test_without_a_sample_there_is_a_row_for_each_slice_and_class_of_the_test_scans(
    dataset: Dataset, out: Path, tmp_path: Path
) -> None:
    done = submit(out, dataset.folder, sample=None, out=tmp_path / "s.csv")

    written = rows(tmp_path / "s.csv")
    assert written[0] == ["id", "class", "predicted"]
    assert [row[:2] for row in written[1:]] == every_key(("case2_day1", "case10_day1"))
    assert done.rows == 40
    assert done.masks == sum(bool(row[2]) for row in written[1:])
    assert done.warnings == ()
    assert b"\r" not in (tmp_path / "s.csv").read_bytes()


def test_every_row_decodes_to_its_mask(dataset: Dataset, out: Path, tmp_path: Path) -> None:
    submit(out, dataset.folder, sample=None, out=tmp_path / "s.csv")

    for name, organ, text in rows(tmp_path / "s.csv")[1:]:
        scan, _, number = name.rpartition("_slice_")
        truth = dataset.label(dataset.select_samples(scan)[0], organ)[:, :, int(number) - 1]
        assert np.array_equal(decode(text, tiny.SHAPE[:2]), truth)


def test_a_scan_without_codes_is_encoded_from_its_masks(dataset: Dataset, out: Path, tmp_path: Path) -> None:
    submit(out, dataset.folder, sample=None, out=tmp_path / "with.csv")
    (out / "case10_day1" / "rle.csv").unlink()
    submit(out, dataset.folder, sample=None, out=tmp_path / "without.csv")

    assert (tmp_path / "with.csv").read_bytes() == (tmp_path / "without.csv").read_bytes()


def test_a_sample_with_rows_gives_the_order(dataset: Dataset, out: Path, tmp_path: Path) -> None:
    keys = every_key(("case2_day0", "case10_day1"))
    random.Random(0).shuffle(keys)
    sample = tmp_path / "sample.csv"
    sample.write_text("\n".join([HEADER, *(",".join([*key, "1 1"]) for key in keys), ""]))
    done = submit(out, dataset.folder, sample=sample, out=tmp_path / "s.csv")

    assert [row[:2] for row in rows(tmp_path / "s.csv")[1:]] == keys
    assert set(done.scans) == {"case2_day0", "case10_day1"}
    assert done.warnings == ()


def test_a_sample_with_only_a_header_is_none(dataset: Dataset, out: Path, tmp_path: Path) -> None:
    (tmp_path / "sample.csv").write_text(HEADER + "\n")
    submit(out, dataset.folder, sample=tmp_path / "sample.csv", out=tmp_path / "a.csv")
    submit(out, dataset.folder, sample=None, out=tmp_path / "b.csv")

    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_of_other_data_than_the_competitions_a_file_is_written_all_the_same_with_a_note(
    dataset: Dataset, out: Path, tmp_path: Path
) -> None:
    facts = dataset.facts.model_copy(update={"layout": "nifti"})
    Dataset(dataset.folder, facts).save()

    done = submit(out, dataset.folder, sample=None, out=tmp_path / "submission.csv")

    assert done.warnings == (
        f"{dataset.folder} is not of the competition's data: the file has only its form",
    )
    assert done.rows == 2 * 10 * 2


def test_without_a_test_part_all_predicted_scans_are_used_with_a_warning(
    dataset: Dataset, out: Path, tmp_path: Path
) -> None:
    samples = tuple(one.model_copy(update={"part": "train"}) for one in dataset.samples)
    Dataset(dataset.folder, dataset.facts.model_copy(update={"samples": samples})).save()
    done = submit(out, dataset.folder, sample=None, out=tmp_path / "s.csv")

    assert done.scans == ("case2_day0", "case2_day1", "case10_day0", "case10_day1")
    assert done.rows == 80
    assert "has no test part: all 4 predicted scans" in done.warnings[0]


def test_predicted_rows_that_the_sample_lacks_are_warned_of(
    dataset: Dataset, out: Path, tmp_path: Path
) -> None:
    (tmp_path / "sample.csv").write_text(f"{HEADER}\ncase2_day0_slice_0003,stomach,\n")
    done = submit(out, dataset.folder, sample=tmp_path / "sample.csv", out=tmp_path / "s.csv")

    assert done.rows == 1
    assert "no row for 19 predicted ones" in done.warnings[0]


def refused(dataset: Dataset, out: Path, tmp_path: Path, sample: str | None = None) -> str:
    path = tmp_path / "sample.csv" if sample else None
    if path:
        path.write_text(sample)
    with pytest.raises(UserError) as error:
        submit(out, dataset.folder, sample=path, out=tmp_path / "s.csv")
    assert not (tmp_path / "s.csv").exists()
    return str(error.value)


def test_scans_without_a_prediction_are_counted_and_named(
    dataset: Dataset, out: Path, tmp_path: Path
) -> None:
    ids = [f"case{case}_day0_slice_0001,stomach," for case in (2, 5, 6, 7, 8)]
    told = refused(dataset, out, tmp_path, "\n".join([HEADER, *ids, ""]))

    assert "4 of 5 scans have no prediction: case5_day0, case6_day0, case7_day0, ..." in told


def test_a_missing_test_scan_is_an_error_even_without_a_sample(
    dataset: Dataset, out: Path, tmp_path: Path
) -> None:
    for file in (out / "case10_day1").iterdir():
        file.unlink()

    assert "1 of 2 scans have no prediction: case10_day1" in refused(dataset, out, tmp_path)


def test_a_mask_that_is_gone_is_told_with_the_one_that_was_saved_in_its_place(
    dataset: Dataset, out: Path, tmp_path: Path
) -> None:
    mask = out / "case10_day1" / "stomach.nii.gz"
    write_volume(Volume(np.ones(tiny.SHAPE, np.uint8), tiny.AFFINE), mask.with_suffix(""))
    mask.unlink()

    told = refused(dataset, out, tmp_path)

    assert "case10_day1: stomach.nii.gz missing (stomach.nii is not read: save it under that name)" in told


def test_a_failed_scan_is_an_error_with_its_reason(dataset: Dataset, out: Path, tmp_path: Path) -> None:
    predicted.record(out, "case10_day1", status="failed", reason="no memory")

    assert "case10_day1: inference failed: no memory" in refused(dataset, out, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,class,rle\n", "its columns are id,class,rle; expected id,class,predicted"),
        (f"{HEADER}\ncase2_day0_slice_0011,stomach,\n", "1 of 1 rows have no prediction: case2_day0"),
        (f"{HEADER}\ncase2_day0_slice_1,stomach,\n", "1 of 1 rows have no prediction"),
        (f"{HEADER}\ncase2_day0_slice_0001,liver,\n", "case2_day0_slice_0001 liver"),
        (f"{HEADER}\ncase2_day0,stomach,\n", "ids without _slice_: case2_day0 stomach"),
        (f"{HEADER}\n" + "case2_day0_slice_0001,stomach,\n" * 2, "1 rows stand there twice"),
    ],
)
def test_a_sample_that_does_not_fit_is_refused(
    dataset: Dataset, out: Path, tmp_path: Path, text, message
) -> None:
    assert message in refused(dataset, out, tmp_path, text)


def test_masks_are_submitted_whatever_the_codes_beside_them_say(
    dataset: Dataset, out: Path, tmp_path: Path
) -> None:
    corrected = np.zeros(tiny.SHAPE, np.uint8)
    corrected[3:5, 2, 7] = 1
    write_volume(Volume(corrected, tiny.AFFINE), out / "case2_day1" / "stomach.nii.gz")

    done = submit(out, dataset.folder, sample=None, out=tmp_path / "submission.csv")

    assert ["case2_day1: corrected by hand" in warning for warning in done.warnings] == [True]
    rows = {(row.id, row.class_name): row.predicted for row in rle_csv.read(tmp_path / "submission.csv")}
    found = {id_: text for (id_, name), text in rows.items() if "case2_day1" in id_ and name == "stomach"}
    assert {id_: text for id_, text in found.items() if text} == {"case2_day1_slice_0008": "44 2"}


def test_corrected_masks_are_submitted_and_said_to_be(dataset: Dataset, out: Path, tmp_path: Path) -> None:
    submit(out, dataset.folder, sample=None, out=tmp_path / "before.csv")
    correction = predicted.correct(out / "case2_day1", stomach=3)

    done = submit(out, dataset.folder, sample=None, out=tmp_path / "after.csv")

    before, after = (set(rle_csv.read(tmp_path / f"{name}.csv")) for name in ("before", "after"))
    slices = {f"case2_day1_slice_{number:04}" for number in correction.classes["stomach"].slices}
    assert {(row.id, row.class_name) for row in after - before} == {(id_, "stomach") for id_ in slices}
    assert any("case2_day1: corrected in corrected/: stomach (3 voxels" in line for line in done.warnings)


def test_masks_of_another_size_are_refused(dataset: Dataset, out: Path, tmp_path: Path) -> None:
    (out / "case2_day1" / "rle.csv").unlink()
    for organ in tiny.CLASSES:
        turned = np.zeros((16, 20, 10), np.uint8)
        write_volume(Volume(turned, tiny.AFFINE), out / "case2_day1" / f"{organ}.nii.gz")

    assert "another grid (shape 16x20x10" in refused(dataset, out, tmp_path)


def test_a_scan_that_did_not_come_from_slices_can_not_be_submitted(
    dataset: Dataset, out: Path, tmp_path: Path
) -> None:
    samples = tuple(one.model_copy(update={"slices": ()}) for one in dataset.samples)
    Dataset(dataset.folder, dataset.facts.model_copy(update={"samples": samples})).save()
    (out / "case2_day1" / "rle.csv").unlink()

    assert "only scans that came from slices" in refused(dataset, out, tmp_path)


def test_codes_in_another_order_are_put_in_order(dataset: Dataset, out: Path, tmp_path: Path) -> None:
    submit(out, dataset.folder, sample=None, out=tmp_path / "before.csv")
    path = out / "case2_day1" / "rle.csv"
    first, *others = path.read_text().splitlines()
    path.write_text("\n".join([first, *reversed(others), ""]))
    submit(out, dataset.folder, sample=None, out=tmp_path / "after.csv")

    assert (tmp_path / "before.csv").read_bytes() == (tmp_path / "after.csv").read_bytes()


def test_masks_of_another_tool_are_submitted_as_our_own(dataset: Dataset, out: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for sample in dataset.samples:
        for name in tiny.CLASSES:
            image = nibabel.Nifti1Image(dataset.label(sample, name).astype(np.float32) * 0.9, tiny.AFFINE)
            (other / sample.name).mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.as_closest_canonical(image), other / sample.name / f"{name}.nii.gz")
    submit(out, dataset.folder, sample=None, out=tmp_path / "ours.csv")

    with pytest.raises(UserError, match="these are probabilities; pass --threshold"):
        submit(other, dataset.folder, sample=None, out=tmp_path / "theirs.csv")
    options = MaskOptions(threshold=0.5)
    done = submit(other, dataset.folder, sample=None, out=tmp_path / "theirs.csv", options=options)

    assert (tmp_path / "theirs.csv").read_bytes() == (tmp_path / "ours.csv").read_bytes()
    assert "unknown" in done.warnings[0]


@pytest.mark.slow
def test_the_strings_of_real_scans_are_the_same_after_decoding_and_encoding(
    shared_data: Path, tmp_path: Path
) -> None:
    raw = tmp_path / "raw"
    shutil.copytree(shared_data / "uwmgi_real" / "train", raw / "train")
    with gzip.open(shared_data / "uwmgi_labels" / "train.csv.gz", "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    (raw / "train.csv").write_text(
        "id,class,segmentation\n"
        + "".join(f"{row['id']},{row['class']},{row['segmentation']}\n" for row in rows)
    )
    prepare(raw, options=PrepareArguments(out=tmp_path / "data", workers=1))
    dataset = Dataset.load(tmp_path / "data")
    shutil.copytree(tmp_path / "data" / "labels", tmp_path / "masks")

    submit(tmp_path / "masks", dataset.folder, sample=None, out=tmp_path / "submission.csv")
    headline = evaluate(tmp_path / "masks", dataset.folder, workers=1, out=tmp_path / "scores").headline

    written = {(row.id, row.class_name): row.predicted for row in rle_csv.read(tmp_path / "submission.csv")}
    slices = {rle_csv.slice_id(one.name, number) for one in dataset.samples for number in one.slices}
    assert len(dataset.samples) == 3
    assert written == {(row["id"], row["class"]): row["segmentation"] for row in rows if row["id"] in slices}
    assert headline.foreground_mean["Dice"] == headline.kaggle.score == 1


def test_only_a_submission_is_replaced(dataset: Dataset, out: Path, tmp_path: Path) -> None:
    labels, sample, old = (tmp_path / f"{name}.csv" for name in ("train", "sample", "old"))
    labels.write_text("id,class,segmentation\ncase1_day0_slice_0001,stomach,1 1\n")
    sample.write_text(HEADER + "\n")
    submit(out, dataset.folder, sample=None, out=old)
    submit(out, dataset.folder, sample=None, out=old)

    for target, told in ((labels, "exists and is no submission"), (sample, "is the sample")):
        before = target.read_bytes()
        with pytest.raises(UserError, match=rf"--out {target}: {told}; name another file"):
            submit(out, dataset.folder, sample=sample, out=target)
        assert target.read_bytes() == before


def spoilt(dataset: Dataset, out: Path) -> Path:
    """Case 10's day 1 has failed, case 2's lacks a mask, and a third test scan could not be prepared."""
    predicted.record(out, "case10_day1", status="failed", reason="no memory")
    (out / "case2_day1" / "stomach.nii.gz").unlink()
    broken = FailedScan(name="case3_day1", part="test", reason="damaged", slices=(7, 8))
    Dataset(dataset.folder, dataset.facts.model_copy(update={"failed": (broken,)})).save()
    return out


def test_a_scan_that_could_not_be_prepared_is_an_error(dataset: Dataset, out: Path, tmp_path: Path) -> None:
    told = refused(dataset, spoilt(dataset, out), tmp_path)

    assert "case10_day1: inference failed: no memory" in told
    assert "could not be prepared: damaged" in told
    assert told.endswith("--missing empty submits without masks what has none")


def test_scans_without_masks_can_be_empty_and_each_is_told(
    dataset: Dataset, out: Path, tmp_path: Path
) -> None:
    done = submit(spoilt(dataset, out), dataset.folder, sample=None, out=tmp_path / "s.csv", missing="empty")

    of_broken = [[f"case3_day1_slice_{n:04d}", organ] for n in (7, 8) for organ in tiny.CLASSES]
    keys = every_key(("case2_day1", "case10_day1"))
    assert rows(tmp_path / "s.csv")[1:] == [[*key, ""] for key in [*keys[:20], *of_broken, *keys[20:]]]
    assert list(done.empty) == ["case2_day1", "case3_day1", "case10_day1"]
    assert "stomach.nii.gz missing" in done.empty["case2_day1"]
    assert "no memory" in done.empty["case10_day1"]
    assert done.empty["case3_day1"] == "could not be prepared: damaged"


def test_rows_of_a_sample_that_have_no_prediction_can_be_empty_and_the_others_stay(
    dataset: Dataset, out: Path, tmp_path: Path
) -> None:
    keys = [*every_key(("case2_day1",)), ["case9_day9_slice_0001", "stomach"], ["case2_day1_slice_0099", "x"]]
    sample = tmp_path / "sample.csv"
    sample.write_text("\n".join([HEADER, *(",".join([*key, ""]) for key in keys), ""]))
    done = submit(out, dataset.folder, sample=sample, out=tmp_path / "s.csv", missing="empty")

    written = rows(tmp_path / "s.csv")[1:]
    assert [row[:2] for row in written] == keys
    assert [row[2] for row in written[-2:]] == ["", ""]
    assert done.masks == sum(bool(row[2]) for row in written) > 0
    assert done.empty == {
        "case9_day9": "has no prediction",
        "case2_day1": f"1 rows of {sample} are of no slice and class of its masks",
    }


def test_a_scan_of_unknown_slices_has_no_rows_and_says_so(
    dataset: Dataset, out: Path, tmp_path: Path
) -> None:
    case = FailedScan(name="case7", part="test", reason="no scans")
    Dataset(dataset.folder, dataset.facts.model_copy(update={"failed": (case,)})).save()
    done = submit(out, dataset.folder, sample=None, out=tmp_path / "s.csv", missing="empty")

    assert done.rows == 40
    assert done.empty == {
        "case7": "could not be prepared: no scans; its slices are unknown, so it has no rows"
    }


@pytest.mark.parametrize("with_sample", [False, True])
def test_without_anything_to_submit_the_file_is_a_header_and_a_note_says_why(
    tmp_path: Path, with_sample: bool
) -> None:
    """What the competition's notebook meets in public: no test folder, and a sample of a header only."""
    facts = tiny.write(tmp_path / "data", cases=1, days=1).facts
    samples = facts.samples if with_sample else ()
    Dataset(tmp_path / "data", facts.model_copy(update={"samples": samples})).save()
    (tmp_path / "sample.csv").write_text(HEADER + "\n")
    sample = tmp_path / "sample.csv" if with_sample else None
    done = submit(tmp_path / "nowhere", tmp_path / "data", sample=sample, out=tmp_path / "s.csv")

    assert (tmp_path / "s.csv").read_text() == HEADER + "\n"
    assert (done.rows, done.empty) == (0, {})
    assert "has no test scans: an empty submission" in done.warnings[0]


def test_the_command_says_by_its_exit_code_that_scans_are_empty(
    dataset: Dataset, out: Path, tmp_path: Path, capsys
) -> None:
    words = ["submit", str(out), "--data", str(dataset.folder), "--out", str(tmp_path / "s.csv")]
    predicted.record(out, "case10_day1", status="failed", reason="no memory")

    assert cli.run_command(words) == 1
    assert cli.run_command([*words, "--missing", "empty"]) == cli.SOME_FAILED
    told = f"empty: case10_day1: {out / 'case10_day1'}: inference failed: no memory"
    assert told in capsys.readouterr().err.splitlines()
