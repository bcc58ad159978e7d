"""What the README says to type is typed here."""

import re
import shlex
from pathlib import Path

import pytest

from volseg import cli

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def block(heading: str) -> list[str]:
    """The `volseg` commands of the first fenced block below a heading."""
    found = re.search(rf"^## {heading}$.*?```bash\n(.*?)```", README, re.M | re.S)
    assert found, heading
    lines = [line.split(" #")[0].strip() for line in found[1].splitlines()]
    return [line for line in lines if line.startswith("volseg ")]


@pytest.mark.slow
def test_every_stage_by_itself_runs_as_written(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    commands = block("Every stage by itself")
    names = [command.split()[1] for command in commands]

    assert names == ["phantom", "prepare", "train", "infer", "evaluate", "report", "infer", "submit"]
    for command in commands:
        words = shlex.split(command)[1:]
        short = ["train.steps=20", "train.epoch_steps=20"] if words[0] == "train" else []
        assert cli.run_command([*words, *short]) == 0, command
    assert Path("submission.csv").read_text().startswith("id,class,predicted\n")


@pytest.mark.parametrize("command", sorted(set(re.findall(r"`(make \w+)`", README))))
def test_every_make_command_has_its_target(command: str) -> None:
    assert f"\n{command.removeprefix('make ')}:" in (ROOT / "Makefile").read_text()


def test_every_command_of_the_readme_exists() -> None:
    commands = {line.split()[1] for line in re.findall(r"^volseg .*", README, re.M)}

    assert commands
    for command in commands:
        assert cli.run_command([command, "--help"]) == 0


def test_every_option_of_the_table_of_commands_exists(capsys) -> None:
    rows = re.findall(r"^\| `volseg (\w+)[^`]*` \|.*\|(.*)\|$", README, re.M)

    assert len(rows) > 10
    for command, told in rows:
        assert cli.run_command([command, "--help"]) == 0
        shown = set(re.findall(r"--[a-z][a-z-]*", capsys.readouterr().out))
        assert not set(re.findall(r"--[a-z][a-z-]*", told)) - shown, command


def test_every_file_of_the_tree_exists() -> None:
    names = re.findall(r"\b(?:volseg|configs|tools|docs|benchmarks)/[\w/]+\.\w+", README)

    missing = [name for name in names if not (ROOT / name).exists()]
    assert not missing
