"""The README is short, and what it says to type is typed here."""

import re

import pytest

from tests import documented
from volseg import cli
from volseg.cli.app import app

README = documented.README.read_text()
NAMES = sorted(name for name in app if not name.startswith("-"))


def test_it_is_read_in_a_few_minutes() -> None:
    assert len(README.split()) <= 800


def test_the_pipeline_is_that_of_the_phantom_tutorial() -> None:
    """Whose commands `end_to_end/test_docs_in_order.py` types."""
    commands, tutorial = documented.commands(documented.README), documented.commands(documented.PHANTOM)
    names = [command.split()[1] for command in commands]

    assert names == ["phantom", "prepare", "train", "infer", "evaluate", "report", "infer", "submit"]
    assert tutorial[: len(commands) + 1] == [*commands[:2], "volseg stats data/prepared", *commands[2:]]


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
