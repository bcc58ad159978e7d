"""What is typed behind `volseg view`, before there is a server."""

import numpy as np
import pytest

from tests import viewed
from volseg import cli


def refused(*words: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.run_command(["view", "--no-browser", *words]) == 1
    return capsys.readouterr().err


def test_a_name_that_no_save_would_take_is_refused_at_once(tmp_path, capsys) -> None:
    told = refused("--predictions", str(tmp_path), "--reviewer", "x" * 201, capsys=capsys)

    assert "--reviewer: has 201 signs; expected 200 at most" in told
    told = refused("--predictions", str(tmp_path), "--reviewer", "x" * 200, capsys=capsys)
    assert "--reviewer" not in told


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of one scan's masks, in a place without any other."""
    monkeypatch.chdir(tmp_path)
    viewed.prediction_of(tmp_path / "pred", "x", {"stomach": np.ones((3, 4, 5), bool)}, np.eye(4))
    (tmp_path / "pred/x/corrected").mkdir()
    return tmp_path


@pytest.mark.parametrize("typed", ["pred/x/stomach.nii.gz", "pred/x/corrected/a.txt"])
def test_a_file_of_a_scan_is_told_the_scan(folder, typed, capsys) -> None:
    (folder / "pred/x/corrected/a.txt").write_text("")

    told = refused(typed, capsys=capsys)

    assert f"{typed}: is a file; name the folder of its scan: {folder}/pred/x\n" in told


def test_any_other_file_is_told_to_be_one(folder, capsys) -> None:
    (folder / "afile").write_text("")

    assert "afile: is a file; name the folder of its scan\n" in refused("afile", capsys=capsys)


def test_a_place_that_is_nowhere_is_named(folder, capsys) -> None:
    told = refused("case12", capsys=capsys)

    assert "case12: no such folder, nor is predictions there" in told
    assert "--predictions" in told
    assert "y: no such scan or case in pred" in refused("y", "--predictions", "pred", capsys=capsys)


def test_an_empty_name_is_told(folder, capsys) -> None:
    for typed in ("", " "):
        assert "the scan's name is empty" in refused(typed, "--predictions", "pred", capsys=capsys)
