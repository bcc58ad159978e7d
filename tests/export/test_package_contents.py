"""A package of one run or of five folds: what it holds of training scans, and that it is one."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests import tiny
from volseg import cli
from volseg.arguments import ExportArguments, InferArguments
from volseg.data import volume_files
from volseg.data.dataset import Dataset
from volseg.data.image_identity import ScanIdentity
from volseg.errors import UserError
from volseg.export.export import export
from volseg.inference.confidence.calibration_file import (
    CalibrationFigures,
    CalibrationFile,
    ClassCalibration,
    ReferenceRanges,
)
from volseg.inference.confidence.temperature_scaling import TemperatureScaling
from volseg.inference.infer import infer
from volseg.runs import folds
from volseg.runs.config_files import POSTPROCESS
from volseg.runs.folds import NAMES, FinishedFolds, FoldOutcome
from volseg.runs.package import FILE, open_run
from volseg.runs.run import Run
from volseg.runs.run_files import CALIBRATION, CONFIG, SPLITS
from volseg.runs.trained_on import TrainedOn
from volseg.training.train import load_and_split

pytestmark = pytest.mark.slow

VOLUME_ML = 17.321
"""That of each scan's labels but for a number behind the comma."""


def make_run(folder: Path, data: Path, fold: int) -> Run:
    """A run whose weights are random, with all that names scans."""
    config = tiny.config(data={"hold_out": ["case6"]}, train={"seed": fold})
    _, facts = load_and_split(config, data, fold)
    ancestor = ScanIdentity(name="case99_day9", case="case99", image="0123abcd")
    facts = facts.model_copy(update={"inherited": TrainedOn(fitted=(ancestor,))})
    comments, overrides = ["looked at case1_day0 by hand"], ["data.hold_out=[case6]"]
    run = Run.create(folder, config, facts, comments=comments, overrides=overrides)
    torch.manual_seed(fold)
    run.save_best_weights(run.build_network())
    return run


def calibrate(folder: Path, runs: list[Run]) -> CalibrationFile:
    """A calibration as `volseg calibrate` would write it, with volumes by scan."""
    nothing = CalibrationFigures(spearman=None, dice_error=None, ece=None)
    scans = {scan: VOLUME_ML + n / 1000 for n, scan in enumerate(runs[0].facts.train)}
    usual = ReferenceRanges(
        scans=len(scans), volume_ml=scans, most_parts=1, intensity=None, border_mm=None,
        cases={scan: runs[0].facts.cases[scan] for scan in scans},
    )  # fmt: skip
    organ = ClassCalibration(calibration=TemperatureScaling(), usual=usual, before=nothing, after=nothing)
    digests = tuple(run.weights_digest for run in runs)
    found = CalibrationFile(
        weights=digests, scans=3, cases=1, before=nothing, after=nothing,
        organs=dict.fromkeys(tiny.CLASSES, organ),
    )  # fmt: skip
    found.write(folder)
    return found


@pytest.fixture(scope="module")
def five(data: Path, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "five"
    runs = [make_run(folder / name, data, fold) for fold, name in enumerate(NAMES)]
    ended = FoldOutcome(steps=1, best=None, seconds=1.0, max_seconds=None)
    FinishedFolds(finished=dict.fromkeys(NAMES, ended)).write(folder)
    calibrate(folder, runs)
    return folder


@pytest.fixture(scope="module")
def package(five: Path, data: Path, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("packages") / "five"
    return export(str(five), ExportArguments("torch", out=out, data=data)).folder


def mentions(folder: Path, words: set[str]) -> list[str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [
        f"{path.name}: {word}"
        for path in files
        for word in sorted(words)
        if word.encode() in path.read_bytes()
    ]


def telling(data: Path) -> set[str]:
    """Names of scans and cases, and the volumes of their labels."""
    samples = Dataset.load(data).samples
    return (
        {"case99", "by hand", str(VOLUME_ML)[:5]}
        | {one.name for one in samples}
        | {one.case for one in samples}
    )


@pytest.mark.parametrize("kind", ["openvino", "onnx"])
def test_a_package_holds_no_names_and_volumes_of_training_scans(
    five: Path, data: Path, tmp_path: Path, kind
) -> None:
    done = export(str(five / "fold1"), ExportArguments(kind, out=tmp_path / "p", data=data))

    assert mentions(five / "fold1", telling(data))
    assert mentions(done.folder, telling(data)) == []
    assert {CALIBRATION, CONFIG, POSTPROCESS, SPLITS} <= {path.name for path in done.folder.iterdir()}


def test_all_of_a_package_of_five_folds_is_nameless(package: Path, data: Path) -> None:
    assert mentions(package, telling(data)) == []


def test_names_come_along_where_they_are_asked_for(
    five: Path, data: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["export", str(five / "fold1"), "--format", "torch", "--data", str(data), "--out", "p"]

    assert cli.run_command([*words, "--with-training-scans"]) == 0

    for name in (CONFIG, POSTPROCESS, SPLITS):
        assert Path("p", name).read_bytes() == (five / "fold1" / name).read_bytes()
    assert CalibrationFile.read(Path("p")) == CalibrationFile.read(five)
    assert open_run(Path("p")).facts == Run.open(five / "fold1").facts


def test_a_nameless_package_flags_what_its_run_flags(five: Path, package: Path) -> None:
    named, nameless = (
        CalibrationFile.read(folder).organs["stomach"].usual for folder in (five, package / "fold0")
    )

    assert (nameless.volume_ml, nameless.cases) == ({}, {})
    assert (nameless.volumes.low_ml, nameless.volumes.high_ml) == (17.0, 18.0)
    assert nameless.volumes.scans == named.volumes.scans == named.scans
    assert nameless.volumes.day_ratio == 1.1  # the next number of two digits
    assert nameless.volumes.day_ratio >= named.volumes.day_ratio


def test_training_scans_are_flagged_and_of_others_it_says_that_it_can_not_know(
    five: Path, package: Path, data: Path, tmp_path: Path
) -> None:
    own, trained = Dataset.load(data), Run.open(five / "fold0").facts.train
    files = [own.folder / one.images[0] for one in own.samples if one.name in trained]
    shutil.copyfile(files[0], tmp_path / "someone.nii.gz")
    image = volume_files.read(files[0])
    volume_files.write_volume(image.with_voxels(image.voxels + np.uint16(1)), tmp_path / "another.nii.gz")

    done = infer(
        InferArguments(
            run=(str(package / "fold0"),),
            input=(tmp_path / "someone.nii.gz", tmp_path / "another.nii.gz"),
            out=tmp_path / "out",
        )
    )

    assert {record.scan: record.seen for record in done.records} == {"someone": "scan", "another": "unknown"}
    notes = "\n".join(done.notes)
    assert "someone: was itself trained on by" in notes
    assert (
        "holds no names of training scans, so whether on other days of these cases is unknown: another"
        in notes
    )


def test_a_package_of_five_folds_predicts_as_the_folds_do(
    five: Path, package: Path, data: Path, tmp_path: Path
) -> None:
    done = {
        name: infer(
            InferArguments(
                run=(str(run),),
                data=data,
                case=("case6",),
                out=tmp_path / name,
                engine="torch",
                save_probabilities=True,
            )
        )
        for name, run in (("run", five), ("package", package))
    }

    for one, other in zip(done["run"].records, done["package"].records, strict=True):
        assert (one.weights, one.fold_set, one.seen) == (other.weights, other.fold_set, other.seen)
        for file in (name for name in one.files if name.endswith(".nii.gz")):
            pair = [volume_files.read(tmp_path / name / one.scan / file).voxels for name in done]
            assert np.array_equal(*pair), file
    assert [run.weights_digest for run in done["package"].ensemble.runs] == [
        Run.open(five / name).weights_digest for name in NAMES
    ]
    assert len({record.weights for record in done["run"].records}) == 1


def test_a_fold_of_a_package_is_a_package_by_itself(package: Path, five: Path) -> None:
    assert open_run(package / "fold2").weights_digest == Run.open(five / "fold2").weights_digest


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda p: shutil.rmtree(p / "fold3"), rf"fold3/{FILE}: missing, although {FILE} lists it"),
        (lambda p: swap(p / "fold2", p / "fold3"), rf"fold2/{FILE}: damaged or changed"),
        (lambda p: (p / folds.FILE).write_text(fewer(p)), rf"{folds.FILE}: damaged or changed"),
    ],
    ids=["a fold is missing", "two folds are exchanged", "a fold is left out"],
)
def test_a_package_that_is_not_whole_is_refused(
    package: Path, data: Path, tmp_path: Path, change, problem
) -> None:
    copy = Path(shutil.copytree(package, tmp_path / "p"))
    change(copy)

    with pytest.raises(UserError, match=problem):
        infer(InferArguments(run=(str(copy),), data=data, out=tmp_path / "out", case=("case6",)))


def swap(one: Path, other: Path) -> None:
    one.rename(between := one.with_name("between"))
    other.rename(one)
    between.rename(other)


def fewer(package: Path) -> str:
    told = json.loads((package / folds.FILE).read_text())
    del told["finished"]["fold4"]
    return json.dumps(told)


def test_folds_that_are_not_finished_and_packages_are_not_exported(
    five: Path, package: Path, data: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(five, tmp_path / "five"))
    (copy / folds.FILE).write_text(fewer(copy))
    options = ExportArguments("torch", out=tmp_path / "p", data=data)

    with pytest.raises(UserError, match=r"five: not finished: fold4; go on with .* e\.g\. .*five/fold0"):
        export(str(copy), options)
    with pytest.raises(
        UserError, match="fold0: is a package already; export the run it was made from, five/f"
    ):
        export(str(package), options)
    assert not options.out.exists()


def test_a_package_of_folds_is_replaced_by_force_only(
    five: Path, package: Path, data: Path, tmp_path: Path
) -> None:
    options = ExportArguments("torch", out=Path(shutil.copytree(package, tmp_path / "p")), data=data)

    with pytest.raises(UserError, match="exists; name another folder or pass --force"):
        export(str(five), options)

    done = export(str(five), replace(options, force=True))
    assert [network.label for network in done.networks] == [f"five/{name}" for name in NAMES]
