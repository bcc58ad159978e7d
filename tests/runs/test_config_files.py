from pathlib import Path

import pytest
import yaml

from volseg.config.config import Config
from volseg.errors import UserError
from volseg.model.networks import UNet
from volseg.postprocessing import FillHoles, KeepLargest, Step, Threshold
from volseg.runs import config_files
from volseg.runs.config_files import CONFIG, POSTPROCESS
from volseg.system.files import write_text

CLASSES = ("a", "b")
STEPS = (Threshold(value=0.4), KeepLargest(only=("b",)))
MINE = Config(network=UNet(channels=(4, 8)), postprocess=STEPS)


def old(folder: Path, config: Config = MINE) -> None:
    """What volseg wrote before there was postprocess.yaml."""
    values = {"version": "0.1.0", **config.model_dump(mode="json")}
    write_text(folder / CONFIG, yaml.safe_dump(values, sort_keys=False))


def replace_steps(folder: Path, *steps: Step) -> None:
    config_files.replace_steps(folder, CLASSES, steps, ["tuned"])


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def sections(folder: Path) -> dict:
    return yaml.safe_load((folder / CONFIG).read_text())


def test_steps_and_the_rest_lie_in_two_files_and_make_one_config(tmp_path: Path) -> None:
    config_files.write_config(tmp_path, MINE)

    assert names(tmp_path) == {CONFIG, POSTPROCESS}
    assert set(sections(tmp_path)) == {"version", *Config.model_fields} - {"postprocess"}
    assert config_files.read_config(tmp_path, CLASSES) == MINE
    assert config_files.steps_file(tmp_path) == tmp_path / POSTPROCESS


def test_an_old_config_tells_the_steps_itself(tmp_path: Path) -> None:
    old(tmp_path)

    assert config_files.read_config(tmp_path, CLASSES) == MINE
    assert config_files.steps_file(tmp_path) == tmp_path / CONFIG


def test_an_old_runs_steps_are_taken_as_they_were_when_it_was_trained(tmp_path: Path) -> None:
    """Then a step whose work another undoes was no mistake."""
    old(tmp_path, Config(postprocess=(FillHoles(), Threshold())))

    assert config_files.read_config(tmp_path, CLASSES).postprocess == (FillHoles(), Threshold())


def test_the_file_of_steps_goes_before_the_config(tmp_path: Path) -> None:
    old(tmp_path)
    config_files.write_steps(tmp_path, (FillHoles(),))

    assert config_files.read_config(tmp_path, CLASSES) == MINE.model_copy(
        update={"postprocess": (FillHoles(),)}
    )
    assert config_files.steps_file(tmp_path) == tmp_path / POSTPROCESS
    (tmp_path / POSTPROCESS).write_text("[]")
    assert config_files.read_config(tmp_path, CLASSES).postprocess == ()


def test_a_section_that_no_longer_counts_may_hold_anything(tmp_path: Path) -> None:
    config_files.write_config(tmp_path, MINE)
    with (tmp_path / CONFIG).open("a") as file:
        file.write("postprocess: [a_step_of_yesterday]\n")

    assert config_files.read_config(tmp_path, CLASSES) == MINE


def test_steps_that_are_told_nowhere_are_not_guessed(tmp_path: Path) -> None:
    config_files.write_config(tmp_path, MINE)
    (tmp_path / POSTPROCESS).unlink()

    with pytest.raises(UserError, match=rf"{POSTPROCESS}: missing; list the steps in it that clean"):
        config_files.read_config(tmp_path, CLASSES)


def test_other_steps_leave_the_rest_of_the_config_as_it_was(tmp_path: Path) -> None:
    config_files.write_config(tmp_path, MINE)
    before = (tmp_path / CONFIG).read_bytes()

    replace_steps(tmp_path, FillHoles())

    assert config_files.read_config(tmp_path, CLASSES) == MINE.model_copy(
        update={"postprocess": (FillHoles(),)}
    )
    assert (tmp_path / CONFIG).read_bytes() == before
    assert "# tuned\n- fill_holes\n" in (tmp_path / POSTPROCESS).read_text()


def test_an_old_config_loses_its_steps_to_the_new_file_and_nothing_else(tmp_path: Path) -> None:
    old(tmp_path)
    before = sections(tmp_path)

    replace_steps(tmp_path, FillHoles())

    del before["postprocess"]
    assert sections(tmp_path) == before
    assert names(tmp_path) == {CONFIG, POSTPROCESS}


@pytest.mark.parametrize("at", [0, 1])
def test_killed_at_any_write_the_steps_are_the_old_or_the_new_ones(
    tmp_path: Path, monkeypatch, at: int
) -> None:
    old(tmp_path)
    writes: list[Path] = []

    def dies(path: Path, text: str) -> None:
        if len(writes) == at:
            raise KeyboardInterrupt
        writes.append(path)
        write_text(path, text)

    with monkeypatch.context() as patched:
        for module in (config_files,):
            patched.setattr(module, "write_text", dies)
        with pytest.raises(KeyboardInterrupt):
            replace_steps(tmp_path, FillHoles())
    kept = (STEPS, (FillHoles(),))[at]
    assert config_files.read_config(tmp_path, CLASSES) == MINE.model_copy(update={"postprocess": kept})

    replace_steps(tmp_path, FillHoles())
    assert "postprocess" not in sections(tmp_path)


@pytest.mark.parametrize("steps", [(KeepLargest(only=("c",)),), (FillHoles(), Threshold())])
def test_steps_that_could_not_be_read_again_are_not_written(tmp_path: Path, steps: tuple[Step, ...]) -> None:
    old(tmp_path)
    before = (tmp_path / CONFIG).read_bytes()

    with pytest.raises(UserError, match=rf"{POSTPROCESS}:\n  postprocess\.0"):
        replace_steps(tmp_path, *steps)

    assert names(tmp_path) == {CONFIG}
    assert (tmp_path / CONFIG).read_bytes() == before
