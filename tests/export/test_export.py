import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests import tiny
from volseg import cli
from volseg.arguments import ExportArguments, InferArguments, TrainArguments
from volseg.data import volume_files
from volseg.data.dataset import Dataset
from volseg.errors import UserError
from volseg.export import equivalence, int8
from volseg.export import export as stage
from volseg.export.equivalence import EquivalenceResult
from volseg.export.export import export
from volseg.export.int8 import Int8Result, PackageScore
from volseg.inference.infer import infer
from volseg.metrics.mask_pair import MaskPair
from volseg.metrics.overlap import Dice
from volseg.postprocessing import Threshold
from volseg.runs import locate
from volseg.runs.config_files import POSTPROCESS
from volseg.runs.package import FILE, MODEL, open_run, seal_package
from volseg.runs.run import Run
from volseg.runs.run_files import CONFIG, SPLITS, TRAINING_SCANS
from volseg.training.train import train

pytestmark = pytest.mark.slow

FORMATS = list(MODEL)


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    other = tiny.config(train={"seed": 5})
    return {
        "a": train(tiny.config(), TrainArguments(data=data, run=folder / "a")).run,
        "other": train(other, TrainArguments(data=data, run=folder / "other")).run,
    }


@pytest.fixture(scope="module")
def packages(trained: dict[str, Path], data: Path, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("packages")
    return {
        kind: export(str(trained["a"]), ExportArguments(kind, out=folder / kind, data=data)).folder
        for kind in FORMATS
    }


@pytest.fixture
def run(trained: dict[str, Path]) -> str:
    return str(trained["a"])


@pytest.fixture
def options(data: Path, tmp_path: Path) -> ExportArguments:
    """The one that takes least time."""
    return ExportArguments("torch", out=tmp_path / "package", data=data)


def wanted(run: Path, data: Path, out: Path, **how) -> InferArguments:
    return InferArguments(run=(str(run),), data=data, out=out, case=("case3",), **how)


def masks(out: Path, scan: str = "case3_day1") -> list[np.ndarray]:
    return [volume_files.read(out / scan / f"{organ}.nii.gz").voxels == 1 for organ in tiny.CLASSES]


def leftovers(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


@pytest.mark.parametrize("kind", FORMATS)
def test_a_packages_masks_are_the_runs(
    trained: dict[str, Path], packages: dict[str, Path], data: Path, tmp_path: Path, kind
) -> None:
    by_run = infer(wanted(trained["a"], data, tmp_path / "run", engine="torch"))
    by_package = infer(wanted(packages[kind], data, tmp_path / kind))

    for scan in ("case3_day0", "case3_day1", "case3_day2"):
        pairs = zip(masks(tmp_path / "run", scan), masks(tmp_path / kind, scan), strict=True)
        for one, other in pairs:
            assert one.any()
            assert Dice()(MaskPair(one, other, (1, 1, 1))) >= equivalence.LEAST_DICE
    for one, other in zip(by_run.records, by_package.records, strict=True):
        assert (one.weights, one.seen, one.fold_set) == (other.weights, other.seen, other.fold_set)


@pytest.mark.parametrize(
    ("kind", "engine"), [("openvino", "auto"), ("onnx", "auto"), ("onnx", "onnxruntime")]
)
def test_neither_torch_nor_monai_is_loaded(
    packages: dict[str, Path], data: Path, tmp_path: Path, kind: str, engine: str
) -> None:
    words = [
        "infer", "--run", str(packages[kind]), "--data", str(data), "--out", str(tmp_path / "out"),
        "--case", "case3", "--engine", engine,
    ]  # fmt: skip
    before = sorted(packages[kind].rglob("*"))
    command = f"assert cli.run_command({words!r}) == 0"
    code = f"import sys; from volseg import cli; {command}; print(' '.join(sys.modules))"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip

    assert len(masks(tmp_path / "out")) == len(tiny.CLASSES)
    assert not {"torch", "monai"} & set(told.stdout.split())
    assert sorted(packages[kind].rglob("*")) == before  # nothing that package.json does not vouch for


@pytest.mark.parametrize("kind", FORMATS)
def test_a_package_holds_its_files_and_nothing_else(
    trained: dict[str, Path], packages: dict[str, Path], kind, tmp_path: Path, data: Path
) -> None:
    folder = Path(shutil.copytree(packages[kind], tmp_path / "p"))
    told = json.loads((folder / FILE).read_text())

    assert {path.name for path in folder.iterdir()} == {
        FILE, CONFIG, POSTPROCESS, SPLITS, TRAINING_SCANS, *MODEL[kind],
    }  # fmt: skip
    assert told["weights"] == Run.open(trained["a"]).weights_digest
    assert (told["format"], told["run"], told["precision"]) == (kind, "a", "fp32")
    assert open_run(folder).config == Run.open(trained["a"]).config


@pytest.mark.parametrize(
    ("kind", "engine"), [("openvino", "auto"), ("onnx", "auto"), ("onnx", "onnxruntime")]
)
def test_a_truncated_network_is_refused_even_where_its_checksum_is_right(
    trained: dict[str, Path], packages: dict[str, Path], data: Path, tmp_path: Path, kind, engine
) -> None:
    folder = Path(shutil.copytree(packages[kind], tmp_path / "p"))
    file = folder / MODEL[kind][0]
    file.write_bytes(file.read_bytes()[:2000])
    seal_package(folder, Run.open(trained["a"]), kind)

    with pytest.raises(UserError, match=f"{file}: .*can't use it"):
        infer(wanted(folder, data, tmp_path / "out", engine=engine))


def test_an_engine_that_does_not_read_the_package_is_refused(
    packages: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="--engine torch: reads torch, and this package holds openv"):
        infer(wanted(packages["openvino"], data, tmp_path / "out", engine="torch"))


@pytest.mark.parametrize("kind", FORMATS)
def test_a_package_of_other_weights_is_refused_and_leaves_nothing(
    trained: dict[str, Path], run: str, options: ExportArguments, monkeypatch, kind
) -> None:
    write, other = stage._write_model, Run.open(trained["other"])
    monkeypatch.setattr(stage, "_write_model", lambda _, kind, folder: write(other, kind, folder))

    with pytest.raises(UserError, match=r"does not predict what the run predicts.*expected at most"):
        export(run, replace(options, format=kind))

    assert leftovers(options.out.parent) == []


def test_exclusive_classes_stay_exclusive(tmp_path: Path) -> None:
    data = tiny.write(tmp_path / "data", exclusive=True).folder
    run = train(tiny.config(train={"steps": 8}), TrainArguments(data=data, run=tmp_path / "r")).run

    done = export(str(run), ExportArguments(out=tmp_path / "p", data=data))

    assert open_run(done.folder).facts.exclusive
    infer(wanted(done.folder, data, tmp_path / "out"))
    found = masks(tmp_path / "out")
    assert not (found[0] & found[1]).any()


def test_a_target_that_is_a_package_is_replaced_by_force_only(run: str, options: ExportArguments) -> None:
    export(run, options)
    (options.out / "mark").touch()

    with pytest.raises(UserError, match=f"--out {options.out}: exists; name another.*--force"):
        export(run, options)
    assert (options.out / "mark").exists()

    export(run, replace(options, force=True))
    assert not (options.out / "mark").exists()
    assert leftovers(options.out.parent) == [options.out]


def test_an_old_package_stays_where_the_new_one_is_refused(
    trained: dict[str, Path], run: str, options: ExportArguments, monkeypatch
) -> None:
    export(run, options)
    before = (options.out / FILE).read_bytes()
    write, other = stage._write_model, Run.open(trained["other"])
    monkeypatch.setattr(stage, "_write_model", lambda _, kind, folder: write(other, kind, folder))

    with pytest.raises(UserError, match="was not kept"):
        export(run, replace(options, force=True))

    assert (options.out / FILE).read_bytes() == before
    assert leftovers(options.out.parent) == [options.out]


def test_a_package_of_a_tuned_run_carries_the_tuned_steps(
    run: str, options: ExportArguments, tmp_path: Path
) -> None:
    run = Run.open(Path(shutil.copytree(run, tmp_path / "tuned")))
    run.replace_postprocess((Threshold(value=0.3),), ["tuned"])

    done = export(str(run.folder), options)

    assert open_run(done.folder).config.postprocess == (Threshold(value=0.3),)
    assert "# tuned\n" not in (done.folder / POSTPROCESS).read_text()  # comments may name people
    (done.folder / POSTPROCESS).write_text("- fill_holes\n")
    with pytest.raises(UserError, match=f"{POSTPROCESS}: damaged or changed"):
        open_run(done.folder)


def test_what_is_no_package_is_never_replaced(run: str, options: ExportArguments) -> None:
    options.out.mkdir()
    (options.out / "thesis.txt").touch()

    with pytest.raises(UserError, match="exists and is no package"):
        export(run, replace(options, force=True))
    assert (options.out / "thesis.txt").exists()


def test_the_scan_compared_on_is_one_that_training_did_not_see(
    run: str, options: ExportArguments, trained: dict[str, Path]
) -> None:
    done = export(run, options)

    first = json.loads((trained["a"] / SPLITS).read_text())["unseen_cases"][0]
    assert done.networks[0].equivalence.scan.startswith(first)


def test_without_a_dataset_that_fits_a_phantom_is_compared_on(
    run: str, options: ExportArguments, tmp_path: Path, monkeypatch
) -> None:
    dataset = tiny.write(tmp_path / "elsewhere", cases=1)
    Dataset(dataset.folder, dataset.facts.model_copy(update={"channels": ("t1",)})).save()
    monkeypatch.chdir(tmp_path)

    own = export(run, replace(options, data=None)).networks[0].equivalence.scan
    assert own.endswith(f" of {Run.open(Path(run)).facts.data}")
    monkeypatch.setattr(locate, "told_dataset", lambda _facts: Path("gone"))
    found = export(run, replace(options, data=None, force=True)).networks[0].equivalence.scan
    assert found == "a phantom scan"
    done = export(run, replace(options, data=dataset.folder, force=True))
    assert done.networks[0].equivalence.scan.startswith("a phantom scan (")
    assert "elsewhere" in done.networks[0].equivalence.scan


def test_a_phantom_has_the_runs_channels_and_few_windows(trained: dict[str, Path]) -> None:
    run = Run.open(trained["a"])
    two = Run(run.folder, run.config, run.facts.model_copy(update={"channels": ("t1", "t2")}))

    found = equivalence.example_scan(two, None, None).channels

    assert [channel.voxels.shape for channel in found] == [(32, 32, 16)] * 2  # two windows an axis
    assert found[0].voxels.std() > 0


def test_a_run_without_weights_is_refused(run: str, options: ExportArguments, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "bare"))
    (copy / "best.safetensors").unlink()

    with pytest.raises(UserError, match="has no weights"):
        export(str(copy), options)


def test_a_package_is_not_exported_again(run: str, options: ExportArguments, tmp_path: Path) -> None:
    export(run, options)

    with pytest.raises(UserError, match="is a package already; export the run it was made from, a"):
        export(str(options.out), replace(options, out=tmp_path / "again"))


def test_a_wrong_format_is_wrong_usage(capsys) -> None:
    assert cli.run_command(["export", "a", "--format", "onx"]) == 2


@pytest.mark.parametrize(
    ("changed", "missing", "text"),
    [
        ({"format": "openvino"}, "openvino", r"openvino is not installed; `pip install 'volseg\[openv"),
        ({"format": "onnx"}, "onnx", r"onnx is not installed; `pip install 'volseg\[onnx"),
        ({"format": "openvino", "int8": True}, "nncf", r"nncf is not installed.*volseg\[int8\]"),
        ({"format": "onnx", "int8": True}, "", "--int8: OpenVINO only"),
        ({"format": "openvino", "int8": True, "data": None}, "", "--int8: needs the scans"),
    ],
)
def test_what_can_not_be_done_here_is_said_before_anything_is(
    run: str, options: ExportArguments, monkeypatch, changed: dict, missing: str, text: str
) -> None:
    find = stage.find_spec
    monkeypatch.setattr(stage, "find_spec", lambda name: None if name == missing else find(name))
    monkeypatch.setattr(locate, "told_dataset", lambda _facts: Path("gone"))
    monkeypatch.chdir(options.out.parent)

    with pytest.raises(UserError, match=text):
        export(run, replace(options, **changed))
    assert leftovers(options.out.parent) == []


@pytest.mark.parametrize(
    ("dice", "mean", "far", "refused"),
    [
        (0.981, 0.001, 0.0005, False),
        (float("nan"), 0.0, 0.0, False),  # no organ: probabilities alone decide
        (0.979, 0.0, 0.0, True),
        (1.0, 0.0021, 0.0, True),
        (1.0, 0.0, 0.0011, True),
    ],
)
def test_each_limit_by_itself_is_enough_to_refuse(
    dice: float, mean: float, far: float, refused: bool
) -> None:
    found = EquivalenceResult("x", "a scan", {"a": 1.0, "b": dice}, {"a": 0, "b": mean}, {"a": 0, "b": far})

    assert bool(found.problems) == refused
    assert all(line.startswith("b: ") for line in found.problems)


def test_8_bits_are_kept_only_while_dice_falls_by_less_than_2_thousandths() -> None:
    before = PackageScore(0.9, 1.0)

    assert Int8Result(5, before, PackageScore(0.8981, 0.5)).is_accepted
    assert not Int8Result(5, before, PackageScore(0.8979, 0.5)).is_accepted
    assert not Int8Result(5, before, PackageScore(float("nan"), 0.5)).is_accepted


def test_scans_that_training_saw_are_called_so() -> None:
    score = PackageScore(0.9, 1.0)

    assert "on 5 training scans" in str(Int8Result(5, score, score, on_training_scans=True))
    assert "on 5 scans" in str(Int8Result(5, score, score))


@pytest.mark.parametrize("most_lost", [1.0, -1.0])
def test_8_bits_are_kept_or_the_network_stays_as_it_was(
    run: str, options: ExportArguments, packages: dict[str, Path], tmp_path: Path, monkeypatch, most_lost
) -> None:
    pytest.importorskip("nncf")
    monkeypatch.setattr(int8, "MOST_LOST", most_lost)

    done = export(run, replace(options, format="openvino", int8=True))

    kept = most_lost > 0
    assert done.networks[0].int8.is_accepted == kept
    told = json.loads((done.folder / FILE).read_text())
    assert told["precision"] == ("int8" if kept else "fp32")
    same = (done.folder / "model.bin").read_bytes() == (packages["openvino"] / "model.bin").read_bytes()
    assert same != kept
    assert {path.name for path in done.folder.iterdir()} == {
        FILE, CONFIG, POSTPROCESS, SPLITS, TRAINING_SCANS, *MODEL["openvino"],
    }  # fmt: skip
    by = infer(wanted(done.folder, options.data, tmp_path / "out"))
    assert [record.status for record in by.records] == ["done"] * 3
