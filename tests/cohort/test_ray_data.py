"""Preparation and scores on a cluster are those of this machine."""

import shutil
from pathlib import Path

import pytest

from tests import predicted, tiny
from volseg.arguments import CohortArguments, PrepareArguments
from volseg.cli import run_command
from volseg.evaluation.evaluate import evaluate
from volseg.preparation.prepare import prepare
from volseg.system.files import file_sha256

pytestmark = pytest.mark.slow
ON = CohortArguments(on="ray")


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """The volumes of a small dataset, a case a folder."""
    data, source = (
        tiny.write(tmp_path_factory.mktemp("data") / "prepared", cases=2),
        tmp_path_factory.mktemp("s"),
    )
    for sample in data.facts.samples:
        (source / sample.name).mkdir()
        shutil.copyfile(data.folder / sample.images[0], source / sample.name / "image.nii.gz")
        for name in tiny.CLASSES:
            (source / sample.name / "segmentations").mkdir(exist_ok=True)
            shutil.copyfile(
                data.folder / f"labels/{sample.name}/{name}.nii.gz",
                source / sample.name / "segmentations" / f"{name}.nii.gz",
            )
    return source


def files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): file_sha256(path) for path in folder.rglob("*") if path.is_file()}


def test_a_dataset_is_prepared_as_here_and_nothing_of_it_twice(two_nodes, source, tmp_path) -> None:
    here, there = (PrepareArguments(layout="nifti", out=tmp_path / name) for name in ("here", "there"))

    prepare(source, options=here)
    first = prepare(source, options=there, cohort=ON)
    second = prepare(source, options=there, cohort=ON)

    assert files(here.out) == files(there.out)
    assert (len(first.unchanged), len(second.unchanged)) == (0, 6)


def test_a_damaged_scan_is_named_and_the_others_are_prepared(two_nodes, source, tmp_path, capsys) -> None:
    raw = Path(shutil.copytree(source, tmp_path / "raw"))
    (raw / "case1_day1/image.nii.gz").write_bytes(b"poison")
    out = tmp_path / "out"

    code = run_command(["prepare", str(raw), "--layout", "nifti", "--out", str(out), "--on", "ray"])

    assert code == 3
    assert "case1_day1" in capsys.readouterr().err
    assert len([*(out / "images").iterdir()]) == 5


def test_scores_are_those_of_this_machine(two_nodes, tmp_path) -> None:
    data = tiny.write(tmp_path / "data", cases=2)
    for sample in data.facts.samples:
        masks = data.labels(sample)
        masks[0, :4] = False
        predicted.write(tmp_path / "masks", data, sample.name, masks=masks)

    evaluate(tmp_path / "masks", data.folder, out=tmp_path / "here")
    evaluate(tmp_path / "masks", data.folder, out=tmp_path / "there", cohort=ON)

    assert files(tmp_path / "here") == files(tmp_path / "there")
