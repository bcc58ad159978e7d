"""The README is short, and what it says to type is typed here."""

import re
import shlex
from pathlib import Path

import pytest

from tests import documented
from volseg import cli
from volseg.cli.app import app

README = documented.README.read_text()
NAMES = sorted(name for name in app if not name.startswith("-"))


def test_it_is_read_in_a_few_minutes() -> None:
    assert len(README.split()) <= 800


@pytest.mark.slow
def test_the_pipeline_and_the_phantom_tutorial_run_as_written(tmp_path: Path, monkeypatch) -> None:
    """The tutorial's commands are the README's and a few more, so that one training shows both."""
    monkeypatch.chdir(tmp_path)
    commands, tutorial = documented.commands(documented.README), documented.commands(documented.PHANTOM)
    names = [command.split()[1] for command in commands]

    assert names == ["phantom", "prepare", "train", "infer", "evaluate", "report", "infer", "submit"]
    assert [command for command in tutorial if command in commands] == commands
    for command in tutorial:
        words = shlex.split(command)[1:]
        short = ["train.steps=20", "train.epoch_steps=20"] if words[0] == "train" else []
        assert cli.run_command([*words, *short]) == 0, command
    assert Path("submission.csv").read_text().startswith("id,class,predicted\n")


@pytest.mark.parametrize("command", sorted(set(re.findall(r"`(make \w+)`", README))))
def test_every_make_command_has_its_target(command: str) -> None:
    assert f"\n{command.removeprefix('make ')}:" in (documented.ROOT / "Makefile").read_text()


def test_every_command_of_the_readme_exists() -> None:
    commands = {line.split()[1] for line in re.findall(r"^volseg .*", README, re.M)}

    assert commands
    for command in commands:
        assert cli.run_command([command, "--help"]) == 0


def test_the_table_of_commands_has_each_once() -> None:
    assert sorted(re.findall(r"^\| `volseg (\w+)` \|", README, re.M)) == NAMES


def test_every_file_of_the_tree_exists() -> None:
    names = re.findall(r"\b(?:volseg|configs|tools|docs|benchmarks|tests)/[\w/]+\.\w+", README)

    assert names
    assert not [name for name in names if not (documented.ROOT / name).exists() and "_build/" not in name]
