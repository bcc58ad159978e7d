"""What is typed behind `volseg view`, before there is a server."""

import pytest

from volseg import cli


def refused(*words: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.run_command(["view", "--no-browser", *words]) == 1
    return capsys.readouterr().err


def test_a_name_that_no_save_would_take_is_refused_at_once(tmp_path, capsys) -> None:
    told = refused("--predictions", str(tmp_path), "--reviewer", "x" * 201, capsys=capsys)

    assert "--reviewer: has 201 signs; expected 200 at most" in told
    told = refused("--predictions", str(tmp_path), "--reviewer", "x" * 200, capsys=capsys)
    assert "--reviewer" not in told
