"""Components of other packages: found by name, checked, told by `volseg options`, and kept in a run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests import documented, tiny
from tests.plugin_packages import install
from volseg import cli
from volseg.components import option_lines
from volseg.config.config import validate_values
from volseg.errors import UserError
from volseg.plugins import offered_plugins
from volseg.runs import config_files
from volseg.runs.plugin_records import used_plugins
from volseg.runs.run import Run

CODE = '''
from typing import Literal

import numpy as np

from volseg.metrics.metric import BaseMetric
from volseg.model.networks.interface import NetworkSection
from volseg.schema import Section


class Empty(Section):
    """Empty every mask."""

    name: Literal["empty"] = "empty"
    only: tuple[str, ...] = ()
    share: float = 0.5

    def __call__(self, evidence):
        return np.zeros_like(evidence.mask)


class Bare(NetworkSection):
    """Has no way to be built."""

    name: Literal["bare"] = "bare"


class Excess(BaseMetric):
    """Voxels too many."""

    name: Literal["excess"] = "excess"
    column = "excess"
    better = "lower"

    def __call__(self, pair):
        return float(pair.prediction_voxels - pair.label_voxels)


ANY = 3
'''
ENTRIES = {
    "volseg.steps:empty": "Empty",
    "volseg.steps:threshold": "Empty",
    "volseg.steps:any": "ANY",
    "volseg.steps:other": "Empty",
    "volseg.networks:bare": "Bare",
    "volseg.networks:gone": "Gone",
    "volseg.losses:empty": "Empty",
    "volseg.metrics:excess": "Excess",
}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on `sys.path` with a package of good and of broken components."""
    folder = tmp_path / "site"
    install(folder, "good-parts", ENTRIES, CODE)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "good_parts", raising=False)
    return folder


def refusal(values: dict) -> str:
    with pytest.raises(UserError) as caught:
        validate_values(values, "my.yaml")
    return str(caught.value)


def test_a_step_of_another_package_is_one_of_a_config(site: Path) -> None:
    config = validate_values({"postprocess": ["threshold", {"name": "empty", "share": 0.2}]}, "my.yaml")

    step = config.postprocess[1]
    assert (type(step).__module__, step.share) == ("good_parts", 0.2)
    assert config.to_values()["postprocess"][1] == {"name": "empty", "only": [], "share": 0.2}
    assert validate_values(config.to_values(), "again") == config
    assert [(one.package, one.version, one.name) for one in used_plugins(config)] == [
        ("good-parts", "1.0", "empty")
    ]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"network": "bare"}, "network: 'bare' of the package good-parts 1.0 can't be used: "
                              "good_parts:Bare has no stride and no build"),
        ({"network": "gone"}, "network: 'gone' of the package good-parts 1.0 can't be used: Attr"),
        ({"postprocess": ["any"]}, "'any' of the package good-parts 1.0 can't be used: good_parts:ANY is"),
        ({"postprocess": ["other"]}, "its name is 'empty', and that of its entry point 'other'"),
        ({"postprocess": ["emty"]}, "unknown name 'emty', did you mean empty?"),
        ({"postprocess": [{"name": "empty", "shares": 1}]}, "postprocess.0.shares: unknown key"),
        ({"postprocess": [{"name": "empty", "k": 1}]}, "0.k: unknown key, a setting of keep_largest"),
        ({"postprocess": [{"name": "empty", "share": "x"}]}, "postprocess.0.share: Input should be a"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_it_is_one_clear_line(site: Path, values: dict, told: str) -> None:
    lines = refusal(values).splitlines()

    assert len(lines) == 2
    assert told in lines[1]


def test_two_packages_with_one_name_are_both_named(site: Path) -> None:
    install(site, "more-parts", {"volseg.steps:empty": "Empty"}, CODE)
    sys.path.append("/nowhere")  # so that what was read of the path before isn't taken

    told = refusal({"postprocess": ["empty"]})

    sys.path.remove("/nowhere")
    assert "'empty' is offered by good-parts 1.0 and more-parts 1.0; uninstall all but one" in told


def test_broken_ones_stop_nothing_else(site: Path) -> None:
    lines = list(option_lines("step"))

    assert "  empty (good-parts 1.0): Empty every mask." in lines
    assert "      share = 0.5" in lines
    assert "  'threshold' of the package good-parts 1.0 is hidden by volseg's own" in lines
    assert "  'any' of the package good-parts 1.0 can't be used: good_parts:ANY is no Section" in lines
    assert type(validate_values({"network": "unet"}, "").network).__name__ == "UNet"
    assert type(validate_values({"postprocess": ["threshold"]}, "").postprocess[0]).__name__ == "Threshold"


def test_nothing_of_them_is_read_for_our_own_components(site: Path) -> None:
    code = """
import sys
from pathlib import Path
from volseg.config.config import load
load(Path("demo"))
print(*sys.modules)
"""
    environment = {**os.environ, "PYTHONPATH": f"{site}:{documented.ROOT}"}

    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )

    assert "good_parts" not in done.stdout.split()


def test_a_metric_of_another_package_is_measured_and_compared_by(site: Path) -> None:
    from volseg.evaluation.comparison.criterion import find_criterion
    from volseg.metrics import compute_metrics
    from volseg.metrics.mask_pair import MaskPair

    label = np.zeros((4, 4, 4), bool)
    label[1, 1, 1] = True

    values = compute_metrics(MaskPair(label, np.ones_like(label), (1.0, 1.0, 1.0)))

    assert values["excess"] == 63
    assert find_criterion("Excess").better == "lower"


@pytest.fixture
def run(site: Path, trained: Path, tmp_path: Path) -> Path:
    """A run whose masks are cleaned by the other package's step."""
    folder = tmp_path / "runs" / "one"
    shutil.copytree(trained, folder)
    opened = Run.open(folder)
    steps = validate_values({"postprocess": ["threshold", "empty"]}, "").postprocess
    opened.replace_postprocess(steps)
    return folder


def test_a_run_names_the_package_and_its_version(run: Path) -> None:
    record = {"group": "volseg.steps", "name": "empty", "package": "good-parts", "version": "1.0"}

    assert yaml.safe_load((run / "config.yaml").read_text())["plugins"] == [record]
    opened = Run.open(run)
    assert [step.name for step in opened.config.postprocess] == ["threshold", "empty"]

    opened.replace_postprocess(opened.config.postprocess[:1])

    assert "plugins" not in yaml.safe_load((run / "config.yaml").read_text())


def test_a_run_without_its_package_is_refused_by_one_line(run: Path, site: Path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(site)])

    with pytest.raises(UserError) as caught:
        Run.open(run)

    assert str(caught.value) == (
        f"{run}: 'empty': of the package good-parts 1.0, which is not installed; "
        "`pip install good-parts==1.0`"
    )
    (run / "postprocess.yaml").write_text("- threshold\n")
    assert Run.open(run).config.postprocess


def test_another_version_is_told(run: Path, site: Path, caplog, monkeypatch) -> None:
    shutil.rmtree(site / "good_parts-1.0.dist-info")
    install(site, "good-parts", ENTRIES, CODE, version="2.0")
    monkeypatch.setattr(sys, "path", [*sys.path, "/nowhere"])
    monkeypatch.setattr("logging.Logger.propagate", True, raising=False)

    with caplog.at_level("WARNING", logger="volseg"):
        config_files.read_config(run, Run.open(run).facts.classes)

    assert f"{run}: was made with good-parts 1.0, and 2.0 is installed" in caplog.text


def test_a_package_without_components_is_none(site: Path) -> None:
    assert offered_plugins("volseg.optimizers") == ()
    assert offered_plugins("") == ()


EXAMPLE = documented.ROOT / "docs" / "examples" / "volseg-example"


def write_npz(folder: Path) -> None:
    """The tiny dataset's scans as the layout of the example has them."""
    import nibabel

    dataset = tiny.write(folder.parent / "tiny")
    folder.mkdir()
    for sample in dataset.samples:
        image = nibabel.load(dataset.folder / sample.images[0])
        labels = {name: dataset.label(sample, name) for name in dataset.classes}
        np.savez(
            folder / sample.name,
            image=np.asarray(image.dataobj),
            spacing_mm=np.array(sample.spacing_mm),
            **labels,
        )


@pytest.mark.slow
def test_the_example_is_installed_trained_with_and_scored_by(tmp_path: Path, monkeypatch, capsys) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    shutil.copytree(EXAMPLE, source)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(target), str(source)], check=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(target)
    write_npz(tmp_path / "raw")
    config = {
        "network": {"name": "plain_cnn", "width": 4, "depth": 2},
        "loss": "jaccard",
        "train": {"patch": [16, 16, 8], "steps": 4, "epoch_steps": 2, "workers": 0},
        "postprocess": ["threshold", {"name": "drop_flat", "min_slices": 3}],
    }
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(config))

    assert cli.run_command(["options"]) == 0
    told = capsys.readouterr().out
    for name in ("plain_cnn", "jaccard", "drop_flat", "centre_distance", "npz", "float64"):
        assert f"  {name} (volseg-example 0.1.0): " in told
    for line in ("prepare raw --layout npz", "train own.yaml", "infer --all --engine float64", "evaluate"):
        assert cli.run_command(line.split()) == 0, capsys.readouterr().err
    assert "centre" in capsys.readouterr().out
    assert ",centre_mm," in (tmp_path / "predictions/own/prepared/scores.csv").read_text()
    record = yaml.safe_load((tmp_path / "runs/own/config.yaml").read_text())["plugins"]
    assert [one["name"] for one in record] == ["plain_cnn", "jaccard", "drop_flat"]
    assert {(one["package"], one["version"]) for one in record} == {("volseg-example", "0.1.0")}

    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(target)])
    assert cli.run_command(["infer", "--all", "--out", "again"]) == 1
    assert (
        "'plain_cnn', 'jaccard', 'drop_flat': of the package volseg-example 0.1.0, which is not installed"
        in capsys.readouterr().err
    )
