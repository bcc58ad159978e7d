"""The competition's platform, played: a Python with torch and numpy, no network, hidden test scans.

The notebook of tools/kaggle is run as it is, with the paths of its first cell replaced.
"""

import csv
import json
import os
import platform
import shutil
import subprocess
import sys
import venv
from importlib.metadata import distribution
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import tiny
from tools.kaggle import make_wheels
from volseg import __version__
from volseg.arguments import PrepareArguments, TrainArguments
from volseg.data.phantom import write_phantom
from volseg.preparation.prepare import prepare
from volseg.runs.folds import FinishedFolds, FoldOutcome
from volseg.training.train import train

pytestmark = pytest.mark.slow
TOOLS = Path(make_wheels.__file__).parent
NO_NETWORK = """
import socket
def refuse(*_args, **_named):
    raise OSError("this platform has no network")
connect = socket.socket.connect
socket.socket.connect = lambda self, to: connect(self, to) if self.family == socket.AF_UNIX else refuse()
socket.getaddrinfo = refuse
"""


class Platform(NamedTuple):
    """An environment's folder, the variables its processes have, and the folders to attach."""

    python: Path
    variables: dict[str, str]
    wheels: Path
    run: Path

    def ran(self, *words: str | Path, text: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*map(str, words)], input=text, env=self.variables, capture_output=True, text=True, check=False
        )


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> Path:
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.skip("the platform's wheels are for Linux on x86_64")
    folder = tmp_path_factory.mktemp("wheels")
    made = subprocess.run(
        [sys.executable, TOOLS / "make_wheels.py", folder], capture_output=True, text=True, check=False
    )
    if any(
        sign in made.stderr for sign in ("ConnectionError", "ReadTimeout", "Failed to establish", "resolve")
    ):
        pytest.skip(f"no package index can be reached: {made.stderr[-300:]}")
    assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """Two folds of a tiny network, trained beforehand; of each what the README says is needed."""
    folder = tmp_path_factory.mktemp("trained")
    write_phantom(folder / "raw", cases=1, days=1, workers=1)
    prepare(folder / "raw", options=PrepareArguments(out=folder / "data", workers=1, part="train"))
    config = tiny.config(
        augment={"flip": ["x"]}, train={"patch": [64, 64, 16], "steps": 2}, data={"split": "none"}
    )
    made = train(config, TrainArguments(data=folder / "data", run=folder / "made", fold="all")).run
    for fold in ("fold0", "fold1"):
        (folder / "mine" / fold).mkdir(parents=True)
        for name in ("config.yaml", "postprocess.yaml", "splits.json", "best.safetensors"):
            shutil.copyfile(made / name, folder / "mine" / fold / name)
    outcome = FoldOutcome(steps=2, best=None, seconds=1.0, max_seconds=None)
    FinishedFolds(finished={"fold0": outcome, "fold1": outcome}).write(folder / "mine")
    return folder / "mine"


@pytest.fixture(scope="module")
def kaggle(wheels: Path, run: Path, tmp_path_factory) -> Platform:
    """A fresh environment with pip, torch, numpy and what these need, by links to this one's; no network."""
    folder = tmp_path_factory.mktemp("platform") / "env"
    venv.create(folder)
    site = next(folder.glob("lib/python*/site-packages"))
    for name in ("pip", *make_wheels.with_their_needs(make_wheels.PLATFORM, make_wheels.HERE)):
        package = distribution(name)
        for top in {path.parts[0] for path in package.files or ()} - {"..", "__pycache__"}:
            (site / top).symlink_to(package.locate_file(top))
    (folder / "bin" / "pip").write_text(f'#!/bin/sh\nexec {folder}/bin/python -m pip "$@"\n')
    (folder / "bin" / "pip").chmod(0o755)
    (site / "no_network.py").write_text(NO_NETWORK)
    (site / "no_network.pth").write_text("import no_network\n")
    foreign = ("PYTHON", "PIP_", "CUDA")
    ours = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    mine = {"PATH": f"{folder}/bin:/usr/bin:/bin", "CUDA_VISIBLE_DEVICES": ""}
    mine |= {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_COMPILE": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return Platform(folder / "bin" / "python", {**ours, **mine}, wheels, run)


@pytest.fixture(scope="module")
def hidden(tmp_path_factory) -> Path:
    """The folder of the competition as it is when it scores: one of two test scans is damaged."""
    root = tmp_path_factory.mktemp("competition") / "hidden"
    write_phantom(root, cases=1, days=2, workers=1)
    scan = next((root / "train").glob("*/*"))
    shutil.move(scan, root / "test" / scan.parent.name / scan.name)
    slices = sorted((root / "test").rglob("*.png"))
    rows = [
        f"{path.parents[1].name}_{path.name[:10]},{name},1 1"
        for path in slices
        for name in ("large_bowel", "small_bowel", "stomach")
    ]
    (root / "sample_submission.csv").write_text("\n".join(["id,class,predicted", *rows, ""]))
    slices[3].write_bytes(slices[3].read_bytes()[:100])
    return root


@pytest.fixture(scope="module")
def public(hidden: Path) -> Path:
    """What the public sees of it: no test scans, and a sample of a header only."""
    root = hidden.parent / "public"
    shutil.copytree(hidden, root, ignore=shutil.ignore_patterns("test"))
    (root / "sample_submission.csv").write_text("id,class,predicted\n")
    return root


def committed(kaggle: Platform, competition: Path, work: Path) -> list[str]:
    """What each cell of the notebook says; a cell that fails ends it, as on the platform."""
    notebook = json.loads((TOOLS / "submission.ipynb").read_text())
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    places = {
        "/kaggle/input/uw-madison-gi-tract-image-segmentation": competition,
        "/kaggle/input/volseg-wheels": kaggle.wheels,
        "/kaggle/input/volseg-run/mine": kaggle.run,
        "/tmp/volseg": work / "work",  # noqa: S108
        "/kaggle/working": work,
    }
    for place, path in places.items():
        assert place in cells[0]
        cells[0] = cells[0].replace(place, str(path))
    told = kaggle.ran(kaggle.python, "-c", f"{cells[0]}\nimport json; print(json.dumps(dict(os.environ)))")
    inside, said = kaggle._replace(variables=json.loads(told.stdout)), []
    for cell in cells[1:]:
        first, _, script = cell.partition("\n")
        assert first == "%%bash"
        done = inside.ran("bash", text=script)
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        said.append(done.stdout + done.stderr)
    return said


def table(path: Path) -> dict[tuple[str, str], str]:
    with path.open(newline="") as file:
        rows = [(row["id"], row["class"], row["predicted"]) for row in csv.DictReader(file)]
    assert len({row[:2] for row in rows}) == len(rows)
    return {row[:2]: row[2] for row in rows}


def test_the_platform_has_no_network(kaggle: Platform) -> None:
    code = "import socket; socket.create_connection(('127.0.0.1', 9))"

    assert "this platform has no network" in kaggle.ran(kaggle.python, "-c", code).stderr


def test_the_notebook_writes_a_complete_submission_though_a_scan_is_damaged(
    kaggle: Platform, hidden: Path, tmp_path: Path
) -> None:
    installed, prepared, predicted, submitted = committed(kaggle, hidden, tmp_path)

    broken, good = sorted(path.name for path in (hidden / "test").glob("*/*"))
    sample, rows = table(hidden / "sample_submission.csv"), table(tmp_path / "submission.csv")
    assert installed.strip() == __version__
    assert f"{broken}" in prepared
    assert "1 of 1 scans" in predicted
    assert "mean of 2 networks" in predicted
    assert f"empty: {broken}: could not be prepared" in submitted
    assert list(rows) == list(sample)
    assert {key[0].rpartition("_slice_")[0] for key, text in rows.items() if text} <= {good}
    again = ["submit", tmp_path / "work/predictions", "--data", tmp_path / "work/prepared"]
    again += ["--sample", hidden / "sample_submission.csv", "--out", tmp_path / "again.csv"]
    command = kaggle.python.parent / "volseg"
    assert [kaggle.ran(command, *again, *more).returncode for more in ((), ("--missing", "empty"))] == [1, 3]
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "submission.csv").read_bytes()


def test_the_notebook_runs_in_public_and_ends_with_an_empty_submission(
    kaggle: Platform, public: Path, tmp_path: Path
) -> None:
    _, prepared, predicted, submitted = committed(kaggle, public, tmp_path)

    assert "no test scans" in prepared
    assert "has no scans; nothing is predicted" in predicted
    assert "an empty submission, of a header only" in submitted
    assert (tmp_path / "submission.csv").read_text() == "id,class,predicted\n"


def test_the_wheels_are_what_the_platform_lacks(wheels: Path, kaggle: Platform) -> None:
    names = {path.name.partition("-")[0].lower() for path in wheels.glob("*.whl")}

    assert {"volseg", "monai"} <= names
    assert not {name for name in names if name.startswith(("torch", "numpy", "nvidia", "openvino", "triton"))}
