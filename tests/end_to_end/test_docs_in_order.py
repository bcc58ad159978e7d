"""Every command of the documentation, typed in the order in which a reader meets it, all in one folder.

What a reader brings along (volumes, DICOM, masks of other tools) has small stand-ins, networks are tiny and
trained for a few steps, and what can't be done here is named with the reason.
"""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests import documented, tiny
from tests.dicom.geometry_phantom import geometry_mask, organ_masks, phantom_series
from volseg import cli
from volseg.data import volume_files
from volseg.data.dataset import Dataset, Sample
from volseg.data.volume import Volume
from volseg.dicom.rtstruct import write_rtstruct
from volseg.dicom.source_header import MadeBy
from volseg.system.json_files import write_json

pytestmark = pytest.mark.slow

TUTORIALS = ("phantom", "own_volumes", "competition")
NOT_HERE = {
    r"cuda|--devices 4|torchrun|srun": "needs GPUs; test_launcher and test_together train on several devices",
    r"--on ray|ray job|/cohort/": "needs a cluster; tests/cohort starts one",
    r"^volseg demo$": "`make demo` runs it",
    r"--dry-run$": "tries steps, which takes long; tests/planning tries them",
    r"network\.weights=": "of a large encoder; test_encoder_weights starts from them",
    r"^volseg train auto": "plans by trials and takes its time; tests/auto does all stages",
    r"^volseg node": "a server; tests/dicom/node starts it",
    r"--watch": "goes on until the last scan is done; tests/inference/test_status watches",
    r"--int8": "takes long; tests/export writes 8 bits",
    r"network=plain_cnn": "of an example package, which test_plugins installs and trains by",
}
"""What can't be typed here, and where it is tried instead."""
SHORT = ["train.steps=2", "train.epoch_steps=2"]
TINY = yaml.safe_dump(
    {
        "augment": {"flip": ["x", "y"]},
        "network": {"name": "unet", "channels": [2, 4], "strides": [4], "res_units": 0},
        "optimizer": {"lr": 1e-2},
        "train": {"patch": [32, 32, 16], "steps": 2, "epoch_steps": 2},
        "inference": {"window": [64, 64, 32]},
        "postprocess": [{"name": "threshold", "value": 0.9}],
    }
)


def pages() -> Iterator[Path]:
    """The pages with steps to follow: the tutorials, then the how-to guides in the order of their list."""
    docs = documented.ROOT / "docs"
    yield from (docs / f"tutorials/{name}.md" for name in TUTORIALS)
    lists = re.findall(r"```\{toctree\}\n(.*?)```", (docs / "howto/index.md").read_text(), re.S)
    yield from (docs / f"howto/{name}.md" for text in lists for name in re.findall(r"^\w+$", text, re.M))


@pytest.fixture
def reader(tmp_path: Path, monkeypatch) -> Path:
    """A folder in which a reader begins, with what they bring along. The viewer ends at once."""
    monkeypatch.setattr("volseg.viewer.server.serve", lambda *_args, **_named: None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SHELL", "/bin/bash")
    Path("configs").mkdir()
    kept_out = "data:\n  hold_out: [case123]\n"
    texts = {"demo": kept_out + TINY, "unet": TINY, "hippocampus": TINY}
    for name, text in texts.items():
        Path(f"configs/{name}.yaml").write_text(text)
    write_decathlon(Path("Task04_Hippocampus"))
    write_decathlon(Path("data/nnunet/Dataset001"))
    for folder in ("study", "incoming/series"):
        phantom_series(Path(folder))
    series = phantom_series(Path("archive/series"))
    organs = {"Stomach": geometry_mask(), "Bowel_Small": geometry_mask()[::-1]}
    write_rtstruct(Path("archive/rt.dcm"), series, organ_masks(organs), made_by=MadeBy("hand", "0" * 64))
    return tmp_path


def write_decathlon(folder: Path) -> None:
    """Fifteen volumes with maps of two classes, as the Decathlon and nnU-Net list them."""
    dataset = tiny.write(folder.with_name(f"{folder.name}-source"), cases=15, days=1, exclusive=True)
    numbers = {"background": 0, **{name: n for n, name in enumerate(dataset.classes, start=1)}}
    items = []
    for sample in dataset.samples:
        paths = f"imagesTr/{sample.case}.nii.gz", f"labelsTr/{sample.case}.nii.gz"
        volume_files.write_volume(dataset.image(sample), folder / paths[0])
        volume_files.write_volume(label_map(dataset, sample), folder / paths[1])
        items.append({"image": paths[0], "label": paths[1]})
    write_json(folder / "dataset.json", {"labels": numbers, "training": items, "test": []})
    shutil.rmtree(dataset.folder)


def label_map(dataset: Dataset, sample: Sample) -> Volume:
    """All classes of a scan in one volume: 1 is the first."""
    masks = [dataset.label(sample, name) for name in dataset.classes]
    values = [n * mask.astype(np.uint8) for n, mask in enumerate(masks, start=1)]
    return Volume(np.max(values, axis=0), dataset.image(sample).affine)


def write_other_masks() -> None:
    """Masks of case123 in the form of nnU-Net and of TotalSegmentator, and one scan by itself."""
    dataset = Dataset.load(Path("data/prepared"))
    for sample in dataset.select_samples("case123"):
        volume_files.write_volume(label_map(dataset, sample), Path(f"nnunet-output/{sample.name}.nii.gz"))
        folder = Path(f"totalsegmentator-output/{sample.name}/segmentations")
        folder.mkdir(parents=True)
        for name, file in sample.labels.items():
            shutil.copy(dataset.folder / file, folder / f"{name}.nii.gz")
        shutil.copy(dataset.folder / sample.images[0], "new_scan.nii.gz")
    for sample in (one for one in dataset.samples if one.part == "test"):
        image = dataset.image(sample)
        nothing = Volume(np.zeros(image.voxels.shape, np.uint8), image.affine)
        volume_files.write_volume(nothing, Path(f"nnunet-output/{sample.name}.nii.gz"))


def as_typed_here(command: str) -> list[str]:
    """The words of a command; with few patients where it draws some, and few steps where it trains."""
    words = shlex.split(command)[1:]
    if words[0] == "phantom":
        words += ["--cases", "7"]
    if words[0] == "plan":  # a forecast in place of trials, which take minutes
        words = [*(word for word in words if word not in ("--max-memory", "8GB")), "--gpu", "T4"]
    if words[0] == "tune":
        words = [word for word in words if word not in ("--max-time", "10m")]
        words += ["--max-time", "20s", "--score", "dice"]
    if words[0] == "train":
        words = [re.sub(r"^train\.steps=.*", "train.steps=4", word) for word in words]
        words += [] if "--resume" in words else SHORT
    return words


def outcome(line: str) -> int:
    """The exit code of a command, or of a script in tools/."""
    if script := re.match(r"python (tools/\S+) (.*)", line):
        command = [sys.executable, str(documented.ROOT / script[1]), *shlex.split(script[2])]
        return subprocess.run(command, check=False, capture_output=True).returncode
    if re.search("infer .*--max-memory", line):  # of a process with nothing else in it
        return subprocess.run([sys.executable, "-m", *shlex.split(line)], check=False).returncode
    return cli.run_command(as_typed_here(line))


def test_each_command_of_each_page_ends_well(reader, capfd) -> None:
    failed, typed = [], 0
    for page in pages():
        lines = [line for line in documented.typed_lines(page) if re.match(r"volseg |python tools/", line)]
        for line in lines:
            if any(re.search(pattern, line) for pattern in NOT_HERE):
                continue
            code, typed = outcome(line), typed + 1
            told = capfd.readouterr()
            if code:
                failed.append(f"{page.stem}: {line}: {code}: {told.err[-500:]}")
            if line == "volseg prepare data/raw --out data/prepared":
                write_other_masks()
            if line.startswith("volseg plan "):
                Path(line.split("--out ")[1]).write_text(TINY)  # the network that was planned is large

    assert not failed, "\n".join(failed)
    assert typed > 80


def test_what_is_not_typed_here_is_still_documented() -> None:
    lines = [line for page in pages() for line in documented.typed_lines(page)]

    for pattern in NOT_HERE:
        assert any(re.search(pattern, line) for line in lines), pattern
