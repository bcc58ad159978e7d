"""Where masks go and which dataset is meant, where nobody says so."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests import predicted, tiny
from volseg import cli
from volseg.arguments import InferArguments, TrainArguments
from volseg.data.dataset import Dataset
from volseg.errors import UserError
from volseg.inference import prediction_places
from volseg.inference.ensemble import Ensemble
from volseg.inference.infer import infer
from volseg.inference.prediction_folder import load_predictions
from volseg.runs import locate
from volseg.runs.run import Run
from volseg.training.train import train

ONE = InferArguments(case=("case1_day0",), engine="torch")


@pytest.fixture
def here(trained: Path, data: Path, tmp_path: Path, monkeypatch) -> Path:
    """A folder with a run, whose dataset lies elsewhere than in data/prepared."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, "runs/tiny")
    (tmp_path / "elsewhere").symlink_to(data, target_is_directory=True)
    return tmp_path


def begun(folder: str, *, at: float, data: str = "") -> Path:
    """A folder in which `infer` began at this time."""
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    prediction_places.PredictionSource(data=data).write(path)
    os.utime(path / "source.json", (at, at))
    return path


@pytest.mark.slow
def test_neither_the_dataset_nor_the_folders_need_be_named_after_training(here, data, capfd) -> None:
    assert cli.run_command(["infer", "--case", "case1", "--engine", "torch"]) == 0
    assert f"predictions/tiny/{data.name}: 3 of 3 scans" in capfd.readouterr().out
    out = Path("predictions/tiny") / data.name
    assert {one.scan for one in load_predictions(out)} == {f"case1_day{day}" for day in range(3)}

    for command in ("evaluate", "report", "status", "submit"):
        assert cli.run_command([command]) == 0, command

    assert (out / "scores.csv").is_file()
    assert f"{out}: the newest predictions" in capfd.readouterr().err


@pytest.mark.slow
def test_a_run_that_goes_on_takes_its_own_dataset_and_learns_where_that_was_moved(here, data) -> None:
    moved = shutil.copytree(data, "moved")

    assert locate.recorded_dataset(Path("runs/tiny")) == data
    train(tiny.config(), TrainArguments(data=moved, run=Path("runs/tiny"), resume=True))

    assert Run.open(Path("runs/tiny")).facts.data == str(Path.cwd() / "moved")
    assert locate.recorded_dataset(Path("runs/tiny")) == Path("moved")
    assert locate.recorded_dataset(Path("runs/none")) is None


def test_a_dataset_that_is_gone_is_told_and_another_is_taken_where_it_is_named(here, data, tmp_path) -> None:
    facts = Run.open(Path("runs/tiny")).facts
    gone = facts.model_copy(update={"data": str(tmp_path / "gone")})
    gone.write(Path("runs/tiny"))
    ensemble = Ensemble.open(())

    with pytest.raises(UserError, match=r"^gone: not there, on which the run was trained; name .* by --data"):
        prediction_places.with_places(ONE, ensemble)
    named = prediction_places.with_places(replace(ONE, data=data), ensemble)
    assert (named.data, named.out) == (data, Path("predictions/tiny") / data.name)
    facts.model_copy(update={"data": ""}).write(Path("runs/tiny"))  # as earlier versions left it
    assert prediction_places.with_places(ONE, Ensemble.open(())).data == Path("data/prepared")


def test_the_folder_tells_runs_and_dataset(here, data, tmp_path) -> None:
    (tmp_path / "scan.nii.gz").touch()
    given = replace(ONE, case=(), input=(tmp_path / "scan.nii.gz",))
    ensemble = Ensemble.open(("tiny",))
    twin = replace(ensemble, folders=(*ensemble.folders, Path("runs/other")))

    assert prediction_places.with_places(given, ensemble).out == Path("predictions/tiny/input")
    assert prediction_places.with_places(ONE, twin).out == Path("predictions/tiny+other") / data.name
    elsewhere = replace(ONE, data=Path("elsewhere/."))
    assert prediction_places.with_places(elsewhere, ensemble).out == Path("predictions/tiny") / data.name
    assert prediction_places.with_places(replace(ONE, out=Path("mine")), ensemble).out == Path("mine")
    with pytest.raises(UserError, match="is a prepared dataset; name another folder for the masks"):
        prediction_places.with_places(replace(ONE, out=data), ensemble)


@pytest.mark.slow
def test_scans_without_a_dataset_leave_the_name_of_one_that_lies_beside_them(here, data) -> None:
    out = infer(ONE).out
    image = Dataset.load(data).samples[4].images[0]

    infer(replace(ONE, case=(), input=(data / image,), out=out))

    assert len(load_predictions(out)) == 2
    assert prediction_places.dataset_of_predictions(Path("nothing"), out) == data


def test_the_newest_is_where_infer_began_last(here) -> None:
    with pytest.raises(UserError, match=r"^predictions: no predictions in it; make some with `volseg infer`"):
        prediction_places.newest_predictions()
    begun("predictions/first/prepared", at=10)
    newest = begun("predictions/later", at=30)
    begun("predictions/five/prepared", at=20)

    assert prediction_places.newest_predictions() == newest
    begun("predictions", at=40)
    assert prediction_places.newest_predictions() == Path("predictions")


def test_predictions_of_earlier_versions_are_found_and_those_of_other_tools_have_no_dataset(
    tmp_path, data, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    predicted.write(Path("predictions"), Dataset.load(data), "case1_day0")
    Path("predictions/predictions.json").write_text("[]")
    Path("other").mkdir()
    Path("other/source.json").write_text('{"somebody": "else"}')

    assert prediction_places.newest_predictions() == Path("predictions")
    assert prediction_places.dataset_of_predictions(Path("other")) == Path("data/prepared")


def test_runs_in_place_of_their_masks_are_told_where_these_are(tmp_path, monkeypatch, capfd) -> None:
    monkeypatch.chdir(tmp_path)
    begun("predictions/first/old", at=10)
    begun("predictions/first/prepared", at=20)

    assert cli.run_command(["compare", "first", "second"]) == 1

    told = capfd.readouterr().err
    assert "first: no such folder; the masks of the run are in predictions/first/prepared" in told
    assert "second: no such folder; name a folder of masks" in told


@pytest.mark.parametrize("command", ["evaluate", "report", "status", "view"])
def test_the_folder_above_tells_which_to_name(command, data, tmp_path, monkeypatch, capfd) -> None:
    monkeypatch.chdir(tmp_path)
    predicted.write(Path("predictions/first/prepared"), Dataset.load(data), "case1_day0")

    assert cli.run_command([command, "predictions", *["--data", str(data)][: 2 * (command != "view")]]) == 1

    assert "predictions in it, such as predictions/first/prepared" in capfd.readouterr().err


def test_a_nameless_package_does_not_tell_where_the_dataset_lay(trained) -> None:
    from volseg.runs.nameless import nameless_splits

    facts = Run.open(trained).facts

    assert facts.data
    assert nameless_splits(facts, "tiny").data == ""
