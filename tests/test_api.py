"""The Python API does what the commands do, in memory, and raises in words."""

import logging
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import volseg
from tests import predicted, tiny
from volseg import cli
from volseg.errors import UserError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> volseg.Dataset:
    return tiny.write(tmp_path_factory.mktemp("data"), cases=6, days=1)


@pytest.fixture(scope="module")
def run(dataset: volseg.Dataset, tmp_path_factory) -> volseg.Run:
    return volseg.train(tiny.config(), dataset, tmp_path_factory.mktemp("runs") / "tiny")


def test_importing_it_is_light_and_gives_every_name_it_promises() -> None:
    code = (
        "import sys, volseg; before = {*sys.modules}; names = dir(volseg);"
        "print(sorted({'numpy', 'torch', 'monai', 'pandas', 'pydantic'} & before));"
        "print(all(getattr(volseg, name) for name in volseg.__all__), {*volseg.__all__} <= {*names})"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert told.stdout.split("\n")[:2] == ["[]", "True True"]
    stub = (Path(volseg.__file__).parent / "__init__.pyi").read_text()
    assert {*volseg.__all__} == {*re.findall(r" as (\w+)", stub)}
    with pytest.raises(AttributeError, match="it has Dataset"):
        _ = volseg.segment


def test_prepare_gives_the_dataset_and_raises_what_the_command_prints(tmp_path: Path, capsys) -> None:
    assert cli.run_command(["phantom", str(tmp_path / "raw"), "--cases", "2", "--days", "1"]) == 0

    made = volseg.prepare(tmp_path / "raw", tmp_path / "prepared", workers=1)

    assert made.classes == ("large_bowel", "small_bowel", "stomach")
    assert (tmp_path / "prepared" / "dataset.json").is_file()
    with pytest.raises(UserError) as error:
        volseg.prepare(tmp_path / "none", tmp_path / "other")
    capsys.readouterr()
    assert cli.run_command(["prepare", str(tmp_path / "none"), "--out", str(tmp_path / "other")]) == 1
    assert str(error.value) in capsys.readouterr().err


def test_training_leaves_a_run_that_is_opened(run: volseg.Run, dataset: volseg.Dataset, tmp_path) -> None:
    assert run.weights_file.is_file()
    assert run.facts.classes == dataset.classes
    with pytest.raises(UserError, match="the command"):
        volseg.train(tiny.config(), dataset, tmp_path / "r", fold="each")
    with pytest.raises(UserError, match="no such config"):
        volseg.train("configs/unett.yaml", dataset)
    with pytest.raises(UserError, match="pass the run's name"):
        volseg.train(tiny.config(), dataset)


def test_a_prediction_in_memory_is_the_commands(
    run: volseg.Run, dataset: volseg.Dataset, tmp_path: Path
) -> None:
    name = dataset.samples[0].name
    file = dataset.folder / dataset.samples[0].images[0]
    words = ["--run", str(run.folder), "--data", str(dataset.folder), "--out", str(tmp_path / "out")]
    assert cli.run_command(["infer", "--case", name, *words]) == 0

    masks, confidence = volseg.predict(file, run.folder)
    again = volseg.predict(dataset.image(dataset.samples[0]), str(run.folder))

    for class_name in dataset.classes:
        written = np.asarray(nib.load(tmp_path / "out" / name / f"{class_name}.nii.gz").dataobj)
        assert masks[class_name].dtype == bool
        assert (masks[class_name] == written).all()
        assert (again.masks[class_name] == written).all()
    assert {*confidence} == {*dataset.classes}
    assert again.confidence == confidence


def test_a_run_trained_anew_in_its_place_predicts_by_its_new_weights(
    run: volseg.Run, dataset: volseg.Dataset, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(run.folder, tmp_path / "run"))
    before = volseg.predict(dataset.image(dataset.samples[0]), copy)
    other = volseg.train(tiny.config(train={"seed": 5}), dataset, tmp_path / "other")
    shutil.copy(other.weights_file, copy)

    after = volseg.predict(dataset.image(dataset.samples[0]), copy)

    assert after.confidence != before.confidence


@pytest.mark.parametrize(
    ("image", "told"),
    [
        ("nowhere.nii.gz", "nowhere.nii.gz: no such file or folder"),
        ([np.zeros((4, 4, 4))], r"volseg.Volume\(array, affine\)"),
        ([volseg.Volume(np.zeros((4, 4, 4)), np.eye(4))] * 2, "has 2 channels; the run needs mr"),
    ],
)
def test_what_can_not_be_predicted_is_told(run: volseg.Run, image: object, told: str) -> None:
    with pytest.raises(UserError, match=told):
        volseg.predict(image, run.folder)


@pytest.mark.parametrize("runs", [{"a": 0.6, "b": 0.4}, ("a", 0.6), 3], ids=["dict", "pair", "number"])
def test_weights_by_another_way_than_a_name_are_refused(runs: object) -> None:
    with pytest.raises(
        UserError, match=r"run: a \w+ is no name; .* with weights as in \[\"a=0.6\", \"b=0.4\"\]"
    ):
        volseg.predict("scan.nii.gz", runs)


def test_corrected_masks_are_scored_and_the_log_says_so(
    dataset: volseg.Dataset, tmp_path: Path, caplog
) -> None:
    folder = predicted.write(tmp_path, dataset, "case1_day0")
    predicted.correct(folder, stomach=-5)

    frame = volseg.evaluate(tmp_path, dataset, workers=1)

    dice = frame[frame["metric"] == "Dice"].set_index("class")["value"]
    assert dice["large_bowel"] == 1 > dice["stomach"]
    assert "case1_day0: corrected in corrected/: stomach (5 voxels" in caplog.text


def test_scores_of_a_folder_are_those_of_the_command(
    run: volseg.Run, dataset: volseg.Dataset, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ["--data", str(dataset.folder), "--out", str(out)]
    assert cli.run_command(["infer", "--all", "--run", str(run.folder), *words]) == 0

    frame = volseg.evaluate(out, dataset)

    assert not (out / "scores.csv").exists()
    assert cli.run_command(["evaluate", str(out), "--data", str(dataset.folder)]) == 0
    rows = [line.split(",") for line in (out / "scores.csv").read_text().splitlines()[1:]]
    assert len(frame) == len(rows)
    assert [*frame["scan"]] == [row[0] for row in rows]
    assert [*frame["metric"]] == [row[2] for row in rows]
    assert {*frame["seen"]} == {"scan", "none"}
    written = np.array([float(row[3] or "nan") for row in rows])
    assert np.allclose(frame["value"], written, atol=1e-6, equal_nan=True)


def test_scores_of_masks_are_worked_out_by_hand(tmp_path: Path) -> None:
    label = np.zeros((8, 8, 4), bool)
    label[1:5, 1:5, 1:3] = True  # 32 voxels
    moved = np.roll(label, 1, axis=0)  # 24 of them in both

    frame = volseg.evaluate({"stomach": moved}, {"stomach": label}, spacing_mm=(2, 1, 3))

    values = dict(zip(frame["metric"], frame["value"], strict=True))
    assert {*frame["class"]} == {"stomach"}
    assert values["Dice"] == pytest.approx(24 / 32)
    assert values["HD"] == pytest.approx(2.0)  # a voxel along X
    assert values["volume_ml"] == pytest.approx(32 * 6 / 1000)
    volume = volseg.Volume(label.astype(np.uint8), np.diag([2.0, 1, 3, 1]))
    nib.save(nib.Nifti1Image(moved.astype(np.uint8), volume.affine), tmp_path / "m.nii.gz")
    by_file = volseg.evaluate(tmp_path / "m.nii.gz", volume)
    assert np.array_equal(by_file["value"], frame["value"], equal_nan=True)


def test_an_empty_mask_has_infinite_distances_and_no_size_of_a_voxel_is_refused() -> None:
    label = np.zeros((4, 4, 4), bool)
    label[1, 1, 1] = True

    frame = volseg.evaluate(np.zeros_like(label), label, spacing_mm=(1, 1, 1))

    assert math.isinf(frame.set_index("metric")["value"]["HD"])
    for prediction, reference, told in (
        (label, label, "pass spacing_mm"),
        ({"a": label}, {"b": label}, "has the classes a; the labels have b"),
        (label, label[:3], "another grid"),
        (label + 1, label, "expected a mask"),
    ):
        with pytest.raises(UserError, match=told):
            volseg.evaluate(prediction, reference, spacing_mm=None if "spacing" in told else (1, 1, 1))


def test_bars_are_drawn_only_when_asked_for(
    dataset: volseg.Dataset, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(logging.getLogger("volseg"), "handlers", [])  # the log of the command line
    shown = []
    monkeypatch.setattr(
        sys,
        "stderr",
        type(
            "Terminal",
            (),
            {"isatty": lambda _: True, "write": lambda _, text: shown.append(text), "flush": lambda _: None},
        )(),
    )
    volseg.train(tiny.config(), dataset, tmp_path / "quiet")
    assert not shown

    volseg.train(tiny.config(), dataset, tmp_path / "shown", progress=True)
    assert any("training" in text for text in shown)


def test_the_code_of_the_how_to_page_runs_as_written(tmp_path: Path, monkeypatch, capsys) -> None:
    page = Path(__file__).parents[1] / "docs" / "howto" / "python_api.md"
    code = page.read_text().partition("```python\n")[2].partition("```")[0]
    monkeypatch.chdir(tmp_path)
    assert cli.run_command(["phantom", "data/raw", "--cases", "6", "--days", "1"]) == 0
    capsys.readouterr()

    exec(code, {"__name__": "__main__"})  # noqa: S102

    printed = capsys.readouterr().out
    assert "Dice" in printed
    assert all(name in printed for name in ("large_bowel", "small_bowel", "stomach"))


def test_a_file_whose_axes_were_turned_is_the_same_mask(tmp_path: Path) -> None:
    label = np.zeros((6, 5, 4), bool)
    label[1:5, 1:4, 1:3] = True
    moved = np.roll(label, 1, axis=0)
    affine = np.diag([-2.0, -1, 3, 1])
    turned = nib.as_closest_canonical(nib.Nifti1Image(moved.astype(np.uint8) * 255, affine))
    nib.save(turned, tmp_path / "m.nii.gz")

    frame = volseg.evaluate(tmp_path / "m.nii.gz", volseg.Volume(label, affine))

    expected = volseg.evaluate(moved, label, spacing_mm=(2, 1, 3))
    assert np.array_equal(frame["value"], expected["value"], equal_nan=True)
