from pathlib import Path

import pytest
import yaml

from tests import tiny
from volseg.config import commented_yaml, config
from volseg.config.config import Config


def settings(values, place=""):
    """The dotted keys of the settings of a section, components of lists aside."""
    for key, value in values.items():
        dotted = f"{place}.{key}" if place else key
        yield from settings(value, dotted) if isinstance(value, dict) else [dotted]


@pytest.mark.parametrize("name", config.shipped_configs())
def test_the_text_reads_back_as_the_config_it_was_made_of(tmp_path: Path, name: str) -> None:
    made = config.load(Path(name))
    path = tmp_path / "c.yaml"
    path.write_text(commented_yaml.format_config(made, {}, ["one", "two"]))

    assert config.load(path) == made
    assert path.read_text().startswith("# one\n# two\n")


def test_every_setting_has_a_comment_on_its_line_or_above_it() -> None:
    made = tiny.config()
    lines = commented_yaml.format_config(
        made, {"train.patch": "long " * 40, "train.batch": "short"}, []
    ).splitlines()

    for dotted in settings(made.to_values()):
        key = dotted.rpartition(".")[2]
        found = [i for i, line in enumerate(lines) if line.strip().startswith(f"{key}:")]
        assert found, dotted
        assert all("#" in lines[i] or lines[i - 1].lstrip().startswith("#") for i in found), dotted
    assert max(map(len, lines)) <= commented_yaml.WIDTH
    assert "  batch: 2  # short" in lines


def test_only_steps_that_the_config_lists_are_written_and_a_footer_stands_below_as_comment(tmp_path) -> None:
    left_out = commented_yaml.format_config(Config(), {}, [], ["By labels:", "  postprocess:", "    - [x]"])
    listed = commented_yaml.format_config(Config(postprocess=()), {}, [])

    assert left_out.endswith("# By labels:\n#   postprocess:\n#     - [x]\n")
    assert "postprocess" not in yaml.safe_load(left_out)
    assert yaml.safe_load(listed)["postprocess"] == []
    assert not config.validate_values(yaml.safe_load(left_out), "left out").lists_steps
    assert config.validate_values(yaml.safe_load(listed), "listed").lists_steps


def test_reasons_that_look_like_yaml_stay_comments(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(commented_yaml.format_config(Config(), {"train.steps": "a: b\n- c"}, ["x:\n\ny"]))

    assert config.load(path) == Config()
    assert yaml.safe_load(path.read_text())["train"]["steps"] == Config().train.steps


def test_meanings_are_of_settings_that_exist() -> None:
    known = set(settings(Config().model_dump(mode="json")))

    assert set(commented_yaml.MEANINGS) <= known | {"postprocess"}
