"""A scan that is unlike those of training: told, flagged, refused on demand; and none of its own kind is."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests import tiny
from volseg import cli
from volseg.arguments import ExportArguments, InferArguments, TrainArguments
from volseg.data.dataset import Dataset
from volseg.data.volume import Volume, stack_affine
from volseg.data.volume_files import write_volume
from volseg.errors import UserError
from volseg.export.export import export
from volseg.inference.infer import infer
from volseg.inference.predict import predict_image
from volseg.inference.prediction_folder import read_record
from volseg.inference.tables import lowest_confidence
from volseg.inference.training_range import FLAG
from volseg.runs.run_files import TRAINING_SCANS
from volseg.runs.training_scans import TrainingScans
from volseg.training.train import train

pytestmark = pytest.mark.slow

COARSE = "spacing 4.5 x 4.5 x 3 mm; training scans had 1.5 x 1.5 x 3 mm"


@pytest.fixture
def inputs(data: Path, tmp_path: Path) -> dict[str, Path]:
    """A scan of training's kind, and the same voxels as if they were three times as wide."""
    image = Dataset.load(data).image(Dataset.load(data).samples[0])
    scans = {"usual": image, "coarse": Volume(image.voxels, stack_affine((4.5, 4.5), 3.0))}
    paths = {name: tmp_path / f"{name}.nii.gz" for name in scans}
    for name, scan in scans.items():
        write_volume(scan, paths[name])
    return paths


@pytest.fixture
def wanted(trained: Path, inputs: dict[str, Path], tmp_path: Path) -> InferArguments:
    paths = tuple(inputs.values())
    return InferArguments(run=(str(trained),), input=paths, out=tmp_path / "out", engine="torch")


def old_run(run: Path, folder: Path) -> Path:
    """A copy of a run as earlier versions left it."""
    shutil.copytree(run, folder)
    (folder / TRAINING_SCANS).unlink()
    return folder


def flagged(out: Path, scan: str) -> list[bool]:
    return [FLAG in one.flags for one in read_record(out / scan).confidence.values()]


def test_no_scan_of_the_dataset_that_was_trained_on_is_outside(wanted: InferArguments, data: Path) -> None:
    done = infer(replace(wanted, input=(), data=data, all=True))

    assert {record.outside for record in done.records} == {()}
    assert not any(FLAG in one.flags for record in done.records for one in record.confidence.values())


def test_a_scan_unlike_training_is_told_before_its_masks_and_flagged_in_its_record(
    wanted: InferArguments, caplog, monkeypatch
) -> None:
    from volseg.inference.predictor import Predictor

    predict, told_first = Predictor.predict_probabilities, []

    def noting(self, channels, timer):
        told_first.append(COARSE in caplog.text)
        return predict(self, channels, timer)

    monkeypatch.setattr(Predictor, "predict_probabilities", noting)
    done = infer(replace(wanted, input=wanted.input[1:]))

    assert told_first == [True]
    assert COARSE in read_record(wanted.out / "coarse").outside
    assert flagged(wanted.out, "coarse") == [True, True]
    assert {one.dice for one in read_record(wanted.out / "coarse").confidence.values()} == {None}
    assert lowest_confidence(read_record(wanted.out / "coarse")) == 0
    assert any(note.startswith("coarse: unlike the scans of training: ") for note in done.notes)


def test_strict_refuses_such_scans_and_predicts_the_others(wanted: InferArguments, capsys) -> None:
    run, paths = wanted.run[0], map(str, wanted.input)
    code = cli.run_command(
        ["infer", "--run", run, "--input", *paths, "--out", str(wanted.out), "--engine", "torch", "--strict"]
    )

    refused = read_record(wanted.out / "coarse")
    assert code == 3
    assert (refused.status, read_record(wanted.out / "usual").status) == ("failed", "done")
    assert refused.reason.startswith("--strict: unlike the scans of training: ")
    assert COARSE in refused.reason
    assert not list((wanted.out / "coarse").glob("*.nii.gz"))


def test_a_run_of_an_earlier_version_is_noted_once_and_guards_nothing(
    wanted: InferArguments, trained: Path, tmp_path: Path
) -> None:
    old = old_run(trained, tmp_path / "old")

    done = infer(replace(wanted, run=(str(old),), strict=True))

    assert [record.outside for record in done.records] == [(), ()]
    assert sum(TRAINING_SCANS in note for note in done.notes) == 1


def test_masks_that_are_there_get_the_flag_as_soon_as_training_is_known(
    wanted: InferArguments, trained: Path, tmp_path: Path
) -> None:
    old = old_run(trained, tmp_path / "old")
    infer(replace(wanted, run=(str(old),)))
    before = (wanted.out / "coarse/stomach.nii.gz").stat().st_mtime_ns
    unflagged = flagged(wanted.out, "coarse")

    shutil.copyfile(trained / TRAINING_SCANS, old / TRAINING_SCANS)
    infer(replace(wanted, run=(str(old),)))

    assert (unflagged, flagged(wanted.out, "coarse")) == ([False, False], [True, True])
    assert flagged(wanted.out, "usual") == [False, False]
    assert (wanted.out / "coarse/stomach.nii.gz").stat().st_mtime_ns == before


def test_runs_together_know_the_scans_of_each(wanted: InferArguments, trained: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(trained, other)
    own = TrainingScans.read(other)
    coarse = tuple(one.model_copy(update={"high": one.high * 3}) for one in own.spacing_mm)
    body = tuple(one.model_copy(update={"high": one.high * 3}) for one in own.body_mm)
    own.model_copy(update={"spacing_mm": coarse, "body_mm": body}).write(other)

    done = infer(replace(wanted, run=(str(trained), str(other))))

    assert [record.outside for record in done.records] == [(), ()]


def test_a_file_that_is_damaged_is_told_and_stops_nothing(
    wanted: InferArguments, trained: Path, tmp_path: Path
) -> None:
    broken = old_run(trained, tmp_path / "broken")
    (broken / TRAINING_SCANS).write_text("{")

    done = infer(replace(wanted, run=(str(broken),)))

    assert [record.status for record in done.records] == ["done", "done"]
    assert sum(TRAINING_SCANS in note for note in done.notes) == 1


def test_the_api_tells_it_too(trained: Path, inputs: dict[str, Path], caplog) -> None:
    usual = predict_image(inputs["usual"], [trained])
    assert "unlike" not in caplog.text

    coarse = predict_image(inputs["coarse"], [trained])

    assert COARSE in caplog.text
    assert [FLAG in one.flags for one in coarse.confidence.values()] == [True, True]
    assert [FLAG in one.flags for one in usual.confidence.values()] == [False, False]


def test_a_resumed_run_of_an_earlier_version_gets_to_know_its_scans(
    trained: Path, data: Path, tmp_path: Path
) -> None:
    old = old_run(trained, tmp_path / "old")

    train(tiny.config(), TrainArguments(data=data, run=old, resume=True))

    assert (old / TRAINING_SCANS).read_text() == (trained / TRAINING_SCANS).read_text()


def test_a_package_knows_what_its_run_knows_and_no_names(trained: Path, data: Path, tmp_path: Path) -> None:
    package = export(str(trained), ExportArguments("torch", out=tmp_path / "package", data=data)).folder

    text = (package / TRAINING_SCANS).read_text()
    assert text == (trained / TRAINING_SCANS).read_text()
    assert "case" not in text.replace('"cases"', "")


def test_a_training_scan_that_holds_no_numbers_is_named(tmp_path: Path) -> None:
    dataset = tiny.write(tmp_path / "data", cases=2, days=1)
    image = dataset.image(dataset.samples[0])
    broken = image.with_voxels(np.where(image.voxels > 600, np.inf, image.voxels))
    write_volume(broken, dataset.folder / dataset.samples[0].images[0])

    with pytest.raises(UserError, match="case1_day0: the image holds NaN or infinite voxels"):
        train(tiny.config(data={"split": "none"}), TrainArguments(data=dataset.folder, run=tmp_path / "run"))
