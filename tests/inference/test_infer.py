import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from scipy.ndimage import binary_fill_holes, label

from tests import predicted, tiny
from tests.raw import Raw
from volseg.arguments import InferArguments, TrainArguments
from volseg.data import volume_files
from volseg.data.dataset import Dataset
from volseg.data.image_identity import image_hash
from volseg.data.layouts.gi_tract import rle, rle_csv
from volseg.data.volume import Volume
from volseg.data.volume_files import write_volume
from volseg.errors import OutputError, UserError
from volseg.inference import tables
from volseg.inference.correction_file import read_correction
from volseg.inference.ensemble import Ensemble
from volseg.inference.infer import infer
from volseg.inference.predict import predict_image
from volseg.inference.prediction_folder import load_predictions
from volseg.inference.predictor import Predictor
from volseg.inference.scan_pipeline import ScanPipeline
from volseg.model.engines import ConversionError
from volseg.postprocessing import FillHoles, Threshold
from volseg.runs.config_files import step_lines
from volseg.runs.run import Run
from volseg.runs.run_files import BEST
from volseg.system.files import file_sha256
from volseg.system.locks import folder_lock
from volseg.training.train import train

pytestmark = pytest.mark.slow


@pytest.fixture
def run(trained: Path) -> Path:
    return trained


@pytest.fixture
def wanted(data: Path, run: Path, tmp_path: Path) -> InferArguments:
    # by torch: without the seconds that another engine takes to convert a run
    return InferArguments(run=(str(run),), data=data, out=tmp_path / "out", engine="torch")


def record(out: Path, scan: str) -> dict:
    return json.loads((out / scan / "record.json").read_text())


def test_a_case_is_all_its_days_and_a_scan_is_one(wanted: InferArguments) -> None:
    case = infer(replace(wanted, case=("case3",)))
    scan = infer(replace(wanted, case=("case3_day1",)))

    assert [r.scan for r in case.records] == ["case3_day0", "case3_day1", "case3_day2"]
    assert [r.scan for r in scan.records] == ["case3_day1"]


def test_masks_lie_on_the_native_grid_and_the_codes_are_theirs(wanted: InferArguments, data: Path) -> None:
    infer(replace(wanted, case=("case3_day1",)))

    folder = wanted.out / "case3_day1"
    image = Dataset.load(data).image(Dataset.load(data).select_samples("case3_day1")[0])
    rows = {(row.id, row.class_name): row.predicted for row in rle_csv.read(folder / "rle.csv")}
    for organ in tiny.CLASSES:
        mask = volume_files.read(folder / f"{organ}.nii.gz")
        assert mask.same_grid(image)
        assert mask.voxels.dtype == np.uint8
        assert set(np.unique(mask.voxels)) <= {0, 1}
        for z in range(tiny.SHAPE[2]):
            text = rows[f"case3_day1_slice_{z + 1:04d}", organ]
            assert np.array_equal(rle.decode(text, tiny.SHAPE[:2]), mask.voxels[:, :, z] == 1)


def test_the_record_tells_what_was_used_and_what_training_saw(wanted: InferArguments, run: Path) -> None:
    done = infer(replace(wanted, all=True))
    splits = json.loads((run / "splits.json").read_text())

    for name in splits["train"]:
        assert record(wanted.out, name)["seen"] == "scan"
    for name in splits["later_days"]:
        assert record(wanted.out, name)["seen"] == "case"
    for name in splits["unseen_cases"]:
        assert record(wanted.out, name)["seen"] == "none"
    told = record(wanted.out, splits["train"][0])
    assert set(told["seconds"]) == {
        "read", "normalise", "network", "blend", "restore", "postprocess", "review", "write",
    }  # fmt: skip
    assert list(told["steps"]) == list(step_lines(Run.open(run).config.postprocess))
    assert len(json.loads((wanted.out / "predictions.json").read_text())) == len(done.records)
    assert any("were themselves trained on" in note for note in done.notes)
    assert any("is another day of a case" in note for note in done.notes)


def with_other_images(data: Path, folder: Path) -> Path:
    """The dataset with each image a little brighter: other patients under the same names."""
    copy, samples = Dataset.load(Path(shutil.copytree(data, folder))), []
    for sample in copy.samples:
        image = copy.image(sample)
        image = image.with_voxels(image.voxels + 1)
        volume_files.write_volume(image, copy.folder / sample.images[0])
        samples.append(sample.model_copy(update={"image_hash": image_hash([image])}))
    Dataset(copy.folder, copy.facts.model_copy(update={"samples": tuple(samples)})).save()
    return copy.folder


def test_scans_are_known_by_their_images_and_names_come_second(
    wanted: InferArguments, run: Path, data: Path, tmp_path: Path
) -> None:
    facts = Run.open(run).facts
    train, unseen = facts.train[0], facts.unseen_cases[0]
    renamed = [tmp_path / "new_patient.nii.gz", tmp_path / "second.nii.gz"]
    for name, path in zip((train, unseen), renamed, strict=True):
        shutil.copyfile(data / f"images/{name}.nii.gz", path)

    own = infer(replace(wanted, case=(train, unseen))).records
    files = infer(replace(wanted, input=tuple(renamed), out=tmp_path / "files")).records
    foreign = replace(wanted, data=with_other_images(data, tmp_path / "other"), out=tmp_path / "foreign")
    others = infer(replace(foreign, case=(train, unseen)))

    told = [[(one.seen, one.chose_weights, one.fold_set) for one in records] for records in (own, files)]
    assert told[0] == told[1] == [("scan", False, "train"), ("none", True, "unseen_cases")]
    assert [(one.seen, one.chose_weights, one.fold_set) for one in others.records] == [
        ("none", False, "other")
    ] * 2
    assert f"{train}: has the name of a scan that training saw, but another image" in others.notes
    with pytest.raises(UserError, match="no scan in unseen_cases"):
        infer(replace(foreign, split="unseen_cases"))


def test_the_record_tells_what_cleaning_changed_also_when_nothing_is_done_again(
    wanted: InferArguments,
) -> None:
    wanted = replace(wanted, case=("case3_day1",))
    first = infer(wanted).records[0]
    again = infer(wanted).records[0]

    told = record(wanted.out, "case3_day1")["changes"]
    assert set(told) == set(tiny.CLASSES)
    for organ, changes in told.items():
        mask = volume_files.read(wanted.out / "case3_day1" / f"{organ}.nii.gz").voxels
        assert [change["step"] for change in changes] == ["threshold", "fill_holes"]
        assert changes[-1]["parts_after"] == label(mask, np.ones((3, 3, 3)))[1]
    assert first.changes == again.changes == load_predictions(wanted.out)[0].changes


def test_a_record_of_an_earlier_version_is_read_and_its_masks_are_kept(wanted: InferArguments) -> None:
    wanted = replace(wanted, case=("case3_day1",))
    infer(wanted)
    path = wanted.out / "case3_day1" / "record.json"
    old = json.loads(path.read_text())
    del old["changes"]
    path.write_text(json.dumps(old))
    written = (path.parent / "stomach.nii.gz").stat().st_mtime_ns

    assert load_predictions(wanted.out)[0].changes == {}
    assert infer(wanted).records[0].status == "done"
    assert (path.parent / "stomach.nii.gz").stat().st_mtime_ns == written


def test_a_split_is_the_runs_own(wanted: InferArguments, run: Path) -> None:
    done = infer(replace(wanted, split="unseen_cases"))

    assert [r.scan for r in done.records] == json.loads((run / "splits.json").read_text())["unseen_cases"]


def test_what_is_done_is_not_done_again_until_the_weights_change(
    wanted: InferArguments, run: Path, tmp_path: Path, data: Path
) -> None:
    infer(replace(wanted, case=("case3_day1",)))
    mask = wanted.out / "case3_day1" / "stomach.nii.gz"
    first = mask.stat().st_mtime_ns

    infer(replace(wanted, case=("case3_day1",)))
    assert mask.stat().st_mtime_ns == first

    other = train(tiny.config(train={"seed": 5}), TrainArguments(data=data, run=tmp_path / "o")).run
    infer(replace(wanted, case=("case3_day1",), run=(str(other),)))
    assert mask.stat().st_mtime_ns != first
    assert record(wanted.out, "case3_day1")["run"] == "o"


def test_masks_are_made_again_where_the_run_says_that_classes_exclude_each_other(
    wanted: InferArguments, run: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    wanted = replace(wanted, case=("case3_day1",), run=(str(copy),))
    before = infer(wanted).records[0].key
    splits = json.loads((copy / "splits.json").read_text())
    (copy / "splits.json").write_text(json.dumps({**splits, "exclusive": True}))

    assert infer(wanted).records[0].key != before


def test_masks_are_made_again_when_the_steps_are_edited_and_not_when_only_told_otherwise(
    wanted: InferArguments, run: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    wanted = replace(wanted, case=("case3_day1",), run=(str(copy),))
    steps, mask = copy / "postprocess.yaml", wanted.out / "case3_day1" / "stomach.nii.gz"
    first = infer(wanted).records[0]
    before = volume_files.read(mask).voxels.astype(bool)

    steps.write_text("# the default\n- threshold\n- {name: fill_holes, only: []}\n")
    told_otherwise = infer(wanted).records[0]
    steps.write_text("- {name: threshold, value: 0.05}\n- fill_holes\n")
    edited = infer(wanted).records[0]
    after = volume_files.read(mask).voxels.astype(bool)

    assert told_otherwise.key == first.key
    assert edited.key != first.key
    assert edited.weights == first.weights
    assert (after & before).sum() == before.sum() < after.sum()


def test_without_steps_a_mask_is_where_the_probability_is_at_least_one_half(
    wanted: InferArguments, run: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    wanted = replace(wanted, case=("case3_day1",), run=(str(copy),))
    masks = {}
    for name, text in {"none": "[]", "threshold": "- threshold\n"}.items():
        (copy / "postprocess.yaml").write_text(text)
        out = tmp_path / name
        infer(replace(wanted, out=out))
        masks[name] = [(out / "case3_day1" / f"{organ}.nii.gz").read_bytes() for organ in tiny.CLASSES]

    assert masks["none"] == masks["threshold"]


def test_an_edited_file_of_steps_is_checked_before_anything_is_predicted(
    wanted: InferArguments, run: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    wanted = replace(wanted, all=True, run=(str(copy),))
    for text, told in {
        "- {name: keep_largest, only: [stomch]}": r"0\.only: no class 'stomch', did you mean stomach",
        "- fill_holes\n- threshold": r"0: fill_holes does nothing, as threshold",
        "- {name: threshold, valu: 0.4}": r"0\.valu: unknown key",
    }.items():
        (copy / "postprocess.yaml").write_text(text)
        with pytest.raises(UserError, match=rf"postprocess\.yaml:\n  postprocess\.{told}"):
            infer(wanted)

    assert not wanted.out.exists()


@pytest.mark.parametrize("exclusive", [False, True])
def test_masks_are_disjoint_where_classes_exclude_each_other(tmp_path: Path, exclusive: bool) -> None:
    """At a threshold that both classes pass nearly everywhere."""
    data = tiny.write(tmp_path / "data", exclusive=exclusive).folder
    config = tiny.config(train={"steps": 2}, data={"split": "none"})
    config = config.model_copy(update={"postprocess": (Threshold(value=0.01), FillHoles())})
    run = train(config, TrainArguments(data=data, run=tmp_path / "r")).run

    infer(InferArguments(run=(str(run),), data=data, out=tmp_path / "out", case=("case1_day0",)))

    masks = [
        volume_files.read(tmp_path / "out/case1_day0" / f"{organ}.nii.gz").voxels == 1
        for organ in tiny.CLASSES
    ]
    assert (masks[0] | masks[1]).any()
    assert (masks[0] & masks[1]).any() != exclusive


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), "cpu: out of memory; end what else takes "),
        (MemoryError("Unable to allocate 3 GiB"), "cpu: out of memory; end what else takes "),
        (UserError("cuda:0: out of memory (it is full)"), "cuda:0: out of memory (it is full)"),
    ],
    ids=repr,
)  # fmt: skip
def test_a_scan_that_takes_too_much_memory_is_told_in_a_line(
    wanted: InferArguments, caplog, monkeypatch, error, reason
) -> None:
    def fail(_predictor: Predictor, channels, _timer):
        raise error

    monkeypatch.setattr(Predictor, "predict_probabilities", fail)

    with pytest.raises(UserError) as raised:
        infer(replace(wanted, case=("case3_day1",)))

    assert str(raised.value).startswith(f"case3_day1: {reason}")
    assert "\n" not in str(raised.value)
    assert record(wanted.out, "case3_day1")["reason"].startswith(reason)
    assert "Traceback" not in caplog.text


def test_a_scan_that_fails_is_named_and_the_rest_go_on(wanted: InferArguments, tmp_path: Path) -> None:
    broken = tiny.write(tmp_path / "broken", cases=1, days=3)
    (broken.folder / broken.samples[1].images[0]).write_bytes(b"junk")

    done = infer(replace(wanted, data=broken.folder, all=True))

    assert [r.status for r in done.records] == ["done", "failed", "done"]
    assert "not a readable volume" in done.failed_records[0].reason
    assert not (wanted.out / "case1_day1" / "stomach.nii.gz").exists()
    assert (wanted.out / "case1_day2" / "stomach.nii.gz").exists()


def test_an_earlier_mask_does_not_outlive_a_failure(wanted: InferArguments, tmp_path: Path) -> None:
    dataset = tiny.write(tmp_path / "data", cases=1, days=2)
    wanted = replace(wanted, data=dataset.folder, all=True)
    infer(wanted)
    (dataset.folder / dataset.samples[0].images[0]).write_bytes(b"junk")

    infer(wanted)

    assert not (wanted.out / "case1_day0" / "stomach.nii.gz").exists()


def test_when_every_scan_fails_it_is_an_error(wanted: InferArguments, tmp_path: Path) -> None:
    dataset = tiny.write(tmp_path / "data", cases=1, days=1)
    (dataset.folder / dataset.samples[0].images[0]).write_bytes(b"")

    with pytest.raises(UserError, match=r"case1_day0: .*not a readable"):
        infer(replace(wanted, data=dataset.folder, all=True))


def test_a_full_disk_ends_the_command(wanted: InferArguments, monkeypatch) -> None:
    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("volseg.data.volume_files.writing._compress_gzip", full)
    with pytest.raises(OutputError, match="the disk is full"):
        infer(replace(wanted, case=("case3",)))

    assert not list(wanted.out.rglob("*.nii.gz"))
    assert not list(wanted.out.rglob(".partial-*"))


def test_ctrl_c_leaves_no_half_done_scan_and_the_next_run_goes_on(
    wanted: InferArguments, monkeypatch
) -> None:
    def interrupted(self, channels, seconds):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Predictor, "predict_probabilities", interrupted)
        with pytest.raises(KeyboardInterrupt):
            infer(replace(wanted, case=("case3_day0",)))
    assert record(wanted.out, "case3_day0")["status"] == "failed"
    assert "stopped" in record(wanted.out, "case3_day0")["reason"]

    done = infer(replace(wanted, case=("case3_day0",)))
    assert done.records[0].status == "done"


def test_an_unknown_case_names_the_nearest(wanted: InferArguments) -> None:
    with pytest.raises(UserError, match=r"case33: no such case or scan .* did you mean case3\?"):
        infer(replace(wanted, case=("case33",)))


def test_other_classes_are_refused(wanted: InferArguments, tmp_path: Path) -> None:
    dataset = tiny.write(tmp_path / "data", cases=1)
    facts = dataset.facts.model_copy(update={"classes": ("liver", "stomach")})
    Dataset(dataset.folder, facts).save()

    with pytest.raises(UserError, match="was trained on the classes large_bowel, stomach"):
        infer(replace(wanted, data=dataset.folder, all=True))


def test_a_run_without_weights_says_so(wanted: InferArguments, run: Path, tmp_path: Path) -> None:
    for name in ("config.yaml", "postprocess.yaml", "splits.json"):
        (tmp_path / "bare").mkdir(exist_ok=True)
        (tmp_path / "bare" / name).write_bytes((run / name).read_bytes())

    with pytest.raises(UserError, match=f"has no weights \\({BEST}\\)"):
        infer(replace(wanted, run=(str(tmp_path / "bare"),), all=True))


def test_a_plain_volume_of_any_orientation_is_taken(wanted: InferArguments, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "mine.nii.gz"
    write_volume(
        Volume(rng.integers(0, 900, (12, 10, 14)).astype(np.int16), np.diag([3.0, 1.5, -1.5, 1])), path
    )

    done = infer(replace(wanted, input=(path,)))

    assert done.records[0].scan == "mine"
    assert done.records[0].seen == "none"
    mask = volume_files.read(wanted.out / "mine" / "stomach.nii.gz")
    assert mask.same_grid(volume_files.read(path))
    assert not (wanted.out / "mine" / "rle.csv").exists()


def test_what_is_odd_about_an_inputs_header_is_told_and_masks_keep_its_forms(
    wanted: InferArguments, tmp_path: Path, caplog
) -> None:
    path, apart = tmp_path / "mine.nii.gz", np.diag([1.5, 1.5, 3, 1])
    voxels = np.random.default_rng(0).integers(0, 900, tiny.SHAPE).astype(np.int16)
    image = nibabel.Nifti1Image(voxels, apart)
    image.set_sform(apart, code=2)
    image.set_qform(apart @ np.diag([1, 1, -1, 1]), code=1)
    nibabel.save(image, path)

    infer(replace(wanted, input=(path,)))

    assert f"{path}: its qform and sform disagree by" in caplog.text
    mask = nibabel.load(wanted.out / "mine/stomach.nii.gz")
    assert np.array_equal(mask.get_qform(), nibabel.load(path).get_qform())
    assert np.array_equal(mask.get_sform(), nibabel.load(path).get_sform())


def test_a_missing_input_is_named(wanted: InferArguments, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: no such file or folder"):
        infer(replace(wanted, input=(tmp_path / "nowhere",)))


def test_slices_are_taken_as_they_lie_and_are_never_touched(wanted: InferArguments, tmp_path: Path) -> None:
    """Even where the output would lie in the folder of the slices themselves."""
    raw = Raw(tmp_path / "raw")
    scan = raw.folder("case1_day0")
    before = {path: path.read_bytes() for path in scan.rglob("*.png")}

    for _ in range(2):
        done = infer(replace(wanted, input=(scan,), out=scan.parent))

    assert done.records[0].status == "done"
    assert {path: path.read_bytes() for path in scan.rglob("*.png")} == before
    assert rle_csv.read(scan / "rle.csv")[0].id == "case1_day0_slice_0011"
    assert volume_files.read(scan / "stomach.nii.gz").voxels.shape == (9, 7, 5)


def test_a_bad_input_leaves_the_others_alone(wanted: InferArguments, tmp_path: Path) -> None:
    raw = Raw(tmp_path / "raw")
    raw.path("case1_day5", 13).unlink()
    inputs = tuple(raw.folder(scan) for scan in ("case1_day0", "case1_day5", "case2_day0"))

    done = infer(replace(wanted, input=inputs))

    assert [r.status for r in done.records] == ["done", "failed", "done"]
    assert "missing" in done.failed_records[0].reason


def test_masks_of_another_runs_classes_do_not_stay(wanted: InferArguments) -> None:
    folder = wanted.out / "case3_day0"
    infer(replace(wanted, case=("case3_day0",)))
    told = record(wanted.out, "case3_day0")
    shutil.copy(folder / "stomach.nii.gz", folder / "liver.nii.gz")
    files = {**told["files"], "liver.nii.gz": told["files"]["stomach.nii.gz"]}
    old = {**told, "classes": [*told["classes"], "liver"], "files": files, "key": "other"}
    (folder / "record.json").write_text(json.dumps(old))

    infer(replace(wanted, case=("case3_day0",)))

    assert not (folder / "liver.nii.gz").exists()


def test_masks_that_inference_did_not_write_are_never_replaced(wanted: InferArguments, data: Path) -> None:
    """The truth lies in folders of the same names."""
    labels = data / "labels"
    before = {path: path.read_bytes() for path in labels.rglob("*.nii.gz")}

    with pytest.raises(UserError, match=r"without record\.json, so volseg did not write them"):
        infer(replace(wanted, all=True, out=labels))

    assert {path: path.read_bytes() for path in labels.rglob("*") if path.is_file()} == before


def test_voxels_that_are_no_numbers_are_refused(wanted: InferArguments, tmp_path: Path) -> None:
    voxels = np.ones((12, 10, 8), np.float32)
    voxels[3, 3, 3] = np.nan
    write_volume(Volume(voxels, np.eye(4)), tmp_path / "nan.nii.gz")

    with pytest.raises(UserError, match="the image holds NaN or infinite voxels"):
        infer(replace(wanted, input=(tmp_path / "nan.nii.gz",)))


def test_renumbered_slices_are_done_again(wanted: InferArguments, tmp_path: Path) -> None:
    raw = Raw(tmp_path / "raw")
    scan = raw.folder("case1_day0")
    infer(replace(wanted, input=(scan,)))
    for path in sorted((scan / "scans").iterdir(), reverse=True):
        number = int(path.name.split("_")[1])
        path.rename(path.with_name(path.name.replace(f"{number:04d}", f"{number + 1:04d}")))

    infer(replace(wanted, input=(scan,)))

    rows = rle_csv.read(wanted.out / "case1_day0" / "rle.csv")
    assert rows[0].id == "case1_day0_slice_0012"


def test_probabilities_are_written_in_8_bits_that_read_as_0_to_1(wanted: InferArguments) -> None:
    infer(replace(wanted, case=("case3_day1",), save_probabilities=True))

    folder = wanted.out / "case3_day1"
    probability = nibabel.load(folder / "stomach_probability.nii.gz")
    assert probability.get_data_dtype() == np.uint8
    values, mask = probability.get_fdata(), volume_files.read(folder / "stomach.nii.gz").voxels
    assert 0 <= values.min() < values.max() <= 1 + 1e-6  # NIfTI keeps the slope in float32
    assert np.array_equal(binary_fill_holes(values >= 0.5), mask > 0)  # the run only cuts and fills
    assert load_predictions(wanted.out)[0].scan == "case3_day1"


def test_other_settings_are_other_masks_and_are_done_again(
    wanted: InferArguments, run: Path, tmp_path: Path
) -> None:
    wanted = replace(wanted, case=("case3_day1",))
    settings = (wanted, replace(wanted, overlap=0.25), replace(wanted, fast=True))
    keys = [infer(options).records[0].key for options in settings]
    batches = Path(shutil.copytree(run, tmp_path / "batches"))
    config = (batches / "config.yaml").read_text()
    (batches / "config.yaml").write_text(config.replace("  batch: null\n", "  batch: 2\n"))
    again = infer(replace(wanted, run=(str(batches),)))

    assert Run.open(batches).config.inference.batch == 2

    assert keys[0] != keys[1] == keys[2]  # fast is an overlap of a quarter here
    assert again.records[0].key == keys[0]  # what is in work at a time changes no mask


def test_fast_is_by_the_first_network_only(wanted: InferArguments, run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "other")
    names = (str(run), str(tmp_path / "other"))

    fast = infer(replace(wanted, run=names, case=("case3",), fast=True))
    both = infer(replace(wanted, run=names, case=("case3",), out=tmp_path / "both"))

    assert (fast.ensemble.name, len(fast.ensemble.runs)) == (run.name, 1)
    assert len(both.ensemble.runs) == 2


def test_flips_are_those_that_training_saw(wanted: InferArguments, run: Path, tmp_path: Path) -> None:
    flips = replace(wanted, case=("case3",), tta="flips")
    with pytest.raises(UserError, match=r"was trained without flips .* leave --tta out"):
        infer(flips)

    mirrored = tmp_path / "mirrored"
    shutil.copytree(run, mirrored)
    config = (mirrored / "config.yaml").read_text()
    (mirrored / "config.yaml").write_text(config.replace("flip: []", "flip: [x, y]"))
    loaded = Ensemble.open((str(mirrored),)).load(flips)

    assert len(loaded.predictor.members[0].tta_networks) == 4


def test_the_table_of_times_has_a_row_a_scan_and_their_mean(wanted: InferArguments) -> None:
    done = infer(replace(wanted, case=("case3",)))

    shown = tables.timing_table(done.records)

    assert shown.row_count == 4
    first = [float(next(iter(column.cells))) for column in shown.columns[1:]]
    assert first[-1] == pytest.approx(sum(first[:-1]), abs=0.01)
    assert first[-1] == pytest.approx(sum(done.records[0].seconds.values()), abs=0.01)


def test_a_scan_for_which_memory_is_too_small_fails_in_one_line(
    wanted: InferArguments, monkeypatch, caplog
) -> None:
    def exhausted(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    monkeypatch.setattr("volseg.model.engines.torch.TorchNetwork._logits", exhausted)

    with pytest.raises(UserError, match=r"^case3_day1: cpu: out of memory; "):
        infer(replace(wanted, case=("case3_day1",)))

    told = record(wanted.out, "case3_day1")
    assert told["status"] == "failed"
    assert "make inference.window smaller" in told["reason"]
    assert "Traceback" not in caplog.text


def test_where_openvino_can_not_take_a_network_torch_does_and_says_so(
    wanted: InferArguments, monkeypatch
) -> None:
    def refused(*_: object, **_options: object) -> None:
        raise ConversionError("run: the network can't be converted to openvino (no rule for it)")

    monkeypatch.setattr("volseg.model.engines.conversion.convert_in_subprocess", refused)
    monkeypatch.setattr("volseg.model.engines.selection._torch_has_a_gpu", lambda: False)
    by = Ensemble.open(wanted.run)

    loaded = by.load(InferArguments())
    with pytest.raises(ConversionError):
        by.load(InferArguments(engine="openvino"))

    assert "no rule for it" in loaded.reason
    assert str(loaded.predictor.members[0].network).startswith("torch, cpu")


def test_the_record_lists_every_file_with_its_hash_and_where_the_image_came_from(
    wanted: InferArguments, data: Path
) -> None:
    infer(replace(wanted, case=("case3_day1",), save_probabilities=True))

    folder = wanted.out / "case3_day1"
    told = record(wanted.out, "case3_day1")
    assert set(told["files"]) == {path.name for path in folder.iterdir()} - {"record.json"}
    assert all(file_sha256(folder / name) == sha256 for name, sha256 in told["files"].items())
    assert told["source"] == [str(data / "images" / "case3_day1.nii.gz")]
    assert told["case"] == "case3"


def test_a_prediction_knows_which_of_its_files_were_changed(wanted: InferArguments) -> None:
    infer(replace(wanted, case=("case3_day1",)))
    assert load_predictions(wanted.out)[0].edited_files == ()

    path = wanted.out / "case3_day1" / "stomach.nii.gz"
    mask = volume_files.read(path)
    write_volume(mask.with_voxels(1 - mask.voxels), path)

    assert load_predictions(wanted.out)[0].edited_files == ("stomach.nii.gz",)


def correct(path: Path) -> np.ndarray:
    """What a person draws in place of a predicted mask."""
    mask = volume_files.read(path)
    drawn = np.zeros_like(mask.voxels)
    drawn[2:6, 3:7, 1:4] = 1
    write_volume(mask.with_voxels(drawn), path)
    return drawn


def test_a_mask_that_was_corrected_by_hand_is_kept_by_name_until_it_is_to_be_replaced(
    wanted: InferArguments,
) -> None:
    wanted = replace(wanted, case=("case3",))
    infer(wanted)
    path = wanted.out / "case3_day1" / "stomach.nii.gz"
    drawn, told = correct(path), record(wanted.out, "case3_day1")

    for options in (wanted, replace(wanted, overlap=0.1)):
        done = infer(options)

        assert np.array_equal(volume_files.read(path).voxels, drawn)
        assert record(wanted.out, "case3_day1") == told
        kept = [note for note in done.notes if "kept: stomach.nii.gz was corrected by hand; --force" in note]
        assert len(kept) == 1
        assert str(path.parent) in kept[0]
        assert not done.failed_records
        assert "stomach" not in done.records[1].confidence
        assert done.kept == ("case3_day1",)

    assert record(wanted.out, "case3_day0")["key"] != told["key"]  # the others were done by other settings
    infer(replace(wanted, force=True))
    assert load_predictions(wanted.out)[1].edited_files == ()
    assert not np.array_equal(volume_files.read(path).voxels, drawn)


def test_masks_that_were_corrected_aside_outlive_all_but_force(wanted: InferArguments) -> None:
    wanted = replace(wanted, case=("case3",))
    infer(wanted)
    folder = wanted.out / "case3_day1"
    told, saved = record(wanted.out, "case3_day1"), predicted.correct(folder, stomach=5)

    same = infer(wanted)

    assert not same.kept
    assert not [note for note in same.notes if "corrected" in note]
    assert (record(wanted.out, "case3_day1"), read_correction(folder)) == (told, saved)
    other = infer(replace(wanted, overlap=0.1))

    assert other.kept == ("case3_day1",)
    assert (record(wanted.out, "case3_day1"), read_correction(folder)) == (told, saved)
    assert "stomach" not in other.records[1].confidence
    assert f"{folder}: kept: masks corrected in `volseg view` lie in corrected/; --force" in other.notes[0]
    assert record(wanted.out, "case3_day0")["key"] != told["key"]
    forced = infer(replace(wanted, force=True))

    assert read_correction(folder) is None
    assert not (folder / "corrected").exists()
    assert f"{folder}: removed for --force: corrected/" in forced.notes


def test_what_is_open_in_the_viewer_is_not_replaced_under_it(
    wanted: InferArguments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by another run's masks, nor by force, nor where the image can no longer be read."""
    wanted = replace(wanted, case=("case3",))
    infer(wanted)
    folder = wanted.out / "case3_day1"
    before = content(folder)

    with folder_lock(folder):
        assert not infer(wanted).failed_records, "nothing is to be replaced"
        other = infer(replace(wanted, overlap=0.1))
        with monkeypatch.context() as patch:
            patch.setattr(ScanPipeline, "_read_channels", unreadable)
            with pytest.raises(UserError, match="can't be read"):
                infer(replace(wanted, force=True))
        assert content(folder) == before
        predicted.correct(folder)
        corrected = content(folder)
        forced = infer(replace(wanted, force=True, overlap=0.2))
        assert content(folder) == corrected

    for done in (other, forced):
        assert [one.scan for one in done.failed_records] == ["case3_day1"]
    assert f"{folder}: it is open in `volseg view`" in other.failed_records[0].reason
    assert "close it there" in other.failed_records[0].reason
    assert record(wanted.out, "case3_day0")["key"] != record(wanted.out, "case3_day1")["key"]
    assert not infer(replace(wanted, force=True, overlap=0.2)).failed_records
    assert not (folder / "corrected").exists()


def unreadable(*_: object) -> None:
    raise UserError("the image can't be read")


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def test_damaged_corrections_fail_their_scan_and_stay_beside_its_prediction(wanted: InferArguments) -> None:
    wanted = replace(wanted, case=("case3",))
    infer(wanted)
    folder = wanted.out / "case3_day1"
    predicted.correct(folder)
    told, path = record(wanted.out, "case3_day1"), folder / "corrected" / "correction.json"
    path.write_text("{")

    for options in (wanted, replace(wanted, overlap=0.1)):
        done = infer(options)

        assert [(one.scan, "correction.json" in one.reason) for one in done.failed_records] == [
            ("case3_day1", True)
        ]
        assert (record(wanted.out, "case3_day1"), path.read_text()) == (told, "{")


def test_files_of_a_prediction_that_are_gone_or_damaged_are_made_again(wanted: InferArguments) -> None:
    wanted = replace(wanted, case=("case3_day1",), save_probabilities=True)
    infer(wanted)
    folder, files = wanted.out / "case3_day1", record(wanted.out, "case3_day1")["files"]
    (folder / "stomach_probability.nii.gz").unlink()
    mask = folder / "stomach.nii.gz"
    mask.write_bytes(mask.read_bytes()[:-30])

    assert infer(wanted).notes == infer(wanted).notes

    assert {path.name: file_sha256(path) for path in folder.iterdir() if path.name in files} == files


def test_probability_maps_do_not_stay_beside_masks_that_were_made_without_them(
    wanted: InferArguments,
) -> None:
    wanted = replace(wanted, case=("case3_day1",))
    infer(replace(wanted, save_probabilities=True))
    infer(wanted)

    assert not list(wanted.out.rglob("*_probability.nii.gz"))


def test_a_mask_that_was_drawn_where_inference_failed_is_not_replaced(
    wanted: InferArguments, tmp_path: Path
) -> None:
    dataset = tiny.write(tmp_path / "data", cases=1, days=2)
    wanted = replace(wanted, data=dataset.folder, all=True)
    image = dataset.folder / dataset.samples[0].images[0]
    good = image.read_bytes()
    image.write_bytes(b"junk")
    infer(wanted)
    path = wanted.out / "case1_day0" / "stomach.nii.gz"
    shutil.copy(wanted.out / "case1_day1" / "stomach.nii.gz", path)
    os.utime(path, (2e9, 2e9))
    before = path.read_bytes()
    image.write_bytes(good)

    done = infer(wanted)

    assert "stomach.nii.gz that volseg did not write" in done.failed_records[0].reason
    assert path.read_bytes() == before
    assert infer(replace(wanted, force=True)).records[0].status == "done"


def write_image(path: Path, seed: int) -> Path:
    voxels = np.random.default_rng(seed).integers(0, 900, (12, 10, 8)).astype(np.int16)
    write_volume(Volume(voxels, np.diag([1.5, 1.5, 3.0, 1])), path)
    return path


def test_a_second_patients_image_does_not_replace_the_first_ones_masks(
    wanted: InferArguments, tmp_path: Path
) -> None:
    first, second = (write_image(tmp_path / name / "image.nii.gz", seed) for seed, name in enumerate("ab"))
    infer(replace(wanted, input=(first,)))
    before = {path: path.read_bytes() for path in (wanted.out / "image").iterdir()}

    with pytest.raises(
        UserError, match=f"holds the masks of another scan, read from {first}; choose another"
    ):
        infer(replace(wanted, input=(second,)))
    second.write_bytes(b"junk")
    with pytest.raises(UserError, match="not a readable volume"):
        infer(replace(wanted, input=(second,)))

    assert {path: path.read_bytes() for path in (wanted.out / "image").iterdir()} == before
    write_image(second, 1)
    infer(replace(wanted, input=(second,), force=True))
    assert record(wanted.out, "image")["source"] == [str(second)]


def test_an_image_that_was_moved_finds_its_masks(wanted: InferArguments, tmp_path: Path) -> None:
    first = write_image(tmp_path / "a" / "image.nii.gz", 0)
    infer(replace(wanted, input=(first,)))
    written = (wanted.out / "image" / "stomach.nii.gz").stat().st_mtime_ns
    moved = first.rename(tmp_path / "image.nii.gz")

    infer(replace(wanted, input=(moved,)))

    assert (wanted.out / "image" / "stomach.nii.gz").stat().st_mtime_ns == written


def test_scans_of_another_dataset_do_not_replace_those_of_the_same_names(
    wanted: InferArguments, tmp_path: Path
) -> None:
    other = tiny.write(tmp_path / "other", cases=1, days=1)
    write_volume(tiny_image(other, shift=7), other.folder / other.samples[0].images[0])
    infer(replace(wanted, case=("case1_day0", "case1_day1")))

    with pytest.raises(UserError, match="case1_day0: holds the masks of another scan, read from"):
        infer(replace(wanted, data=other.folder, all=True))


def tiny_image(dataset: Dataset, shift: int) -> Volume:
    image = dataset.image(dataset.samples[0])
    return image.with_voxels(image.voxels + shift)


def test_inputs_of_one_name_bear_their_folders_names_and_are_found_again(
    wanted: InferArguments, tmp_path: Path
) -> None:
    paths = tuple(write_image(tmp_path / name / "s.nii.gz", seed) for seed, name in enumerate("ab"))
    done = infer(replace(wanted, input=paths))
    written = (wanted.out / "a_s" / "stomach.nii.gz").stat().st_mtime_ns
    again = infer(replace(wanted, input=paths))

    assert [one.scan for one in done.records] == [one.scan for one in again.records] == ["a_s", "b_s"]
    assert (wanted.out / "a_s" / "stomach.nii.gz").stat().st_mtime_ns == written


def test_each_volume_of_a_folder_is_predicted(wanted: InferArguments, tmp_path: Path) -> None:
    for seed in range(2):
        write_image(tmp_path / "many" / f"p{seed}.nii.gz", seed)

    assert [one.scan for one in infer(replace(wanted, input=(tmp_path / "many",))).records] == ["p0", "p1"]


@pytest.mark.parametrize(("known", "asked", "taken"), [(5.0, None, 5.0), (5.0, 4.0, 4.0), (None, None, 3.0)])
def test_slices_are_as_far_apart_as_those_that_the_run_was_trained_on(
    wanted: InferArguments, run: Path, tmp_path: Path, known: float | None, asked: float | None, taken: float
) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    splits = json.loads((copy / "splits.json").read_text())
    assert splits["slice_mm"] == 3.0
    (copy / "splits.json").write_text(json.dumps({**splits, "slice_mm": known}))
    scan = Raw(tmp_path / "raw").folder("case1_day0")

    done = infer(replace(wanted, run=(str(copy),), input=(scan,), slice_mm=asked))

    mask = volume_files.read(wanted.out / "case1_day0" / "stomach.nii.gz")
    assert mask.spacing_mm[2] == taken
    assert any(f"taken to be {taken:g} mm apart" in note for note in done.notes) == (asked is None)


@pytest.mark.parametrize("slice_mm", [0.0, -3.0, math.nan, 1e6])
def test_a_distance_of_slices_that_none_can_have_is_refused(wanted: InferArguments, slice_mm: float) -> None:
    with pytest.raises(UserError, match=r"--slice-mm: .* is no distance of slices in mm"):
        infer(replace(wanted, input=(wanted.data,), slice_mm=slice_mm))


def test_the_distance_of_slices_is_no_option_for_a_prepared_dataset(wanted: InferArguments) -> None:
    with pytest.raises(UserError, match="--slice-mm: is of folders of slices"):
        infer(replace(wanted, all=True, slice_mm=5.0))


def test_what_was_written_before_a_scan_was_stopped_is_known_as_volsegs(
    wanted: InferArguments, monkeypatch
) -> None:
    wanted = replace(wanted, case=("case3_day1",))
    write_volume_as_it_is = write_volume

    def killed_at_the_second(volume: Volume, path: Path, **options: float) -> None:
        if (wanted.out / "case3_day1" / "large_bowel.nii.gz").exists():
            raise KeyboardInterrupt
        write_volume_as_it_is(volume, path, **options)

    with monkeypatch.context() as patched:
        patched.setattr("volseg.inference.scan_pipeline.write_volume", killed_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            infer(wanted)
    assert set(record(wanted.out, "case3_day1")["files"]) == {"large_bowel.nii.gz"}

    assert infer(wanted).records[0].status == "done"


def test_channels_in_several_files_are_one_scan_of_a_run_of_several_channels(
    wanted: InferArguments, tmp_path: Path
) -> None:
    made = tiny.write(tmp_path / "data", cases=1, days=1)
    sample = made.samples[0].model_copy(update={"images": made.samples[0].images * 2})
    facts = made.facts.model_copy(update={"channels": ("T1", "T2"), "samples": (sample,)})
    Dataset(made.folder, facts).save()
    config = tiny.config(train={"steps": 2}, data={"split": "none"})
    run = train(config, TrainArguments(data=made.folder, run=tmp_path / "r")).run
    wanted = replace(wanted, run=(str(run),))
    files = [write_image(tmp_path / "new" / f"c_000{number}.nii.gz", number) for number in range(2)]

    done = infer(replace(wanted, input=(tmp_path / "new",)))

    assert [one.scan for one in done.records] == ["c"]
    assert done.records[0].source == tuple(map(str, files))
    mask = volume_files.read(wanted.out / "c" / "stomach.nii.gz").voxels
    for image in (tmp_path / "new", files):
        assert np.array_equal(predict_image(image, (str(run),)).masks["stomach"], mask == 1)
    with pytest.raises(UserError, match=r"^c: has 1 channel; the run needs T1, T2: pass the files NAME_0000"):
        infer(replace(wanted, input=(files[0],), out=tmp_path / "one"))
    moved = volume_files.read(files[1])
    write_volume(Volume(moved.voxels, moved.affine + np.eye(4)[:, [1, 2, 0, 3]]), files[1])
    with pytest.raises(UserError, match=r"c: channel 2 .* resample them to one grid"):
        infer(replace(wanted, input=tuple(files)))


def test_of_a_dataset_without_scans_nothing_is_predicted_and_a_note_says_so(
    wanted: InferArguments, tmp_path: Path
) -> None:
    """What the competition's notebook meets in public; of a dataset with scans it is still an error."""
    empty = tiny.write(tmp_path / "empty", cases=0)

    done = infer(replace(wanted, data=empty.folder, split="test"))

    assert (done.records, done.notes) == ((), (f"{empty.folder}: has no scans; nothing is predicted",))
    with pytest.raises(UserError, match="no scan in test"):
        infer(replace(wanted, split="test"))
