from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from volseg.config.config import Config, validate_values
from volseg.errors import UserError
from volseg.postprocessing import (
    DropSmall,
    FillHoles,
    Hysteresis,
    KeepLargest,
    SmoothAcrossSlices,
    Step,
    Threshold,
)
from volseg.runs import config_files
from volseg.runs.config_files import POSTPROCESS
from volseg.schema import union_members

CLASSES = ("a", "b")


def read(folder: Path, text: str | bytes, classes: tuple[str, ...] = CLASSES) -> tuple | None:
    (folder / POSTPROCESS).write_bytes(text if isinstance(text, bytes) else text.encode())
    return config_files.read_steps(folder, classes)


def body(folder: Path) -> list[str]:
    lines = (folder / POSTPROCESS).read_text().splitlines()
    return [line for line in lines if not line.startswith("#")]


NUMBERS = st.floats(1e-300, 1.0)
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)


@given(value=NUMBERS, volume=st.floats(1e-300, 1e300), k=st.integers(1), names=st.sets(NAMES))
def test_any_steps_come_back_exactly(
    tmp_path_factory, value: float, volume: float, k: int, names: set[str]
) -> None:
    only = tuple(sorted(names))
    steps = (Threshold(value=value), DropSmall(min_mm3=volume, only=only), KeepLargest(k=k))
    folder = tmp_path_factory.mktemp("r")

    config_files.write_steps(folder, steps, ["# it's [a] comment: 'no' step", "- fill_holes", *only])

    assert config_files.read_steps(folder, only) == steps


@pytest.mark.parametrize("name", union_members(Step))
def test_every_kind_of_step_comes_back_as_one_line(tmp_path: Path, name: str) -> None:
    needed = {"drop_small": {"min_mm3": 5}, "drop_small_in_slices": {"min_mm2": 5}}
    values = {"name": name, "only": ["a"], **needed.get(name, {})}
    steps = validate_values({"postprocess": [values]}, "mine").postprocess

    config_files.write_steps(tmp_path, steps)

    assert config_files.read_steps(tmp_path, CLASSES) == steps
    assert len(body(tmp_path)) == 1


def test_the_list_stands_as_in_a_config_and_can_be_copied_either_way(tmp_path: Path) -> None:
    config_files.write_steps(tmp_path, (Threshold(), FillHoles()))
    text = (tmp_path / POSTPROCESS).read_text()

    assert body(tmp_path) == ["- {name: threshold, value: 0.5}", "- fill_holes"]
    assert validate_values(yaml.safe_load(f"postprocess:\n{text}"), "copied") == Config()
    assert read(tmp_path, "  - threshold\n  - fill_holes\n") == Config().postprocess


def test_every_setting_is_written_so_that_another_default_changes_nothing(tmp_path: Path) -> None:
    steps = (Hysteresis(), SmoothAcrossSlices(only=("a",)), KeepLargest())
    config_files.write_steps(tmp_path, steps)

    for step, values in zip(steps, yaml.safe_load("\n".join(body(tmp_path))), strict=True):
        told = step.model_dump(mode="json")
        assert values == {k: v for k, v in told.items() if k != "only" or step.only}


def test_lines_of_comment_stand_under_the_header_and_change_nothing(tmp_path: Path) -> None:
    config_files.write_steps(tmp_path, (Threshold(),), ["Dice 0.81, before 0.80", "two\nlines", ""])

    header = [f"# {line}" for line in config_files.HEADER]
    lines = (tmp_path / POSTPROCESS).read_text().splitlines()
    assert lines[:-1] == [*header, "# Dice 0.81, before 0.80", "# two", "# lines", "#"]
    assert config_files.read_steps(tmp_path, CLASSES) == (Threshold(),)


def test_without_the_file_there_is_nothing_to_go_by(tmp_path: Path) -> None:
    assert config_files.read_steps(tmp_path, CLASSES) is None


@pytest.mark.parametrize("text", ["[]", "# none\n[]\n"])
def test_an_empty_list_means_no_steps(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == ()


@pytest.mark.parametrize("text", ["", "# - threshold\n", "\n\n", "null"])
def test_a_file_without_a_list_may_be_a_stopped_editors_and_is_refused(tmp_path, text) -> None:
    with pytest.raises(UserError, match=r"postprocess\.yaml: expected a list .*none: \[\].* got nothing"):
        read(tmp_path, text)


def test_a_folder_in_the_files_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / config_files.POSTPROCESS).mkdir()

    with pytest.raises(UserError, match="can't be read"):
        config_files.read_steps(tmp_path, CLASSES)


def test_no_steps_are_written_as_an_empty_list(tmp_path: Path) -> None:
    config_files.write_steps(tmp_path, ())

    assert body(tmp_path) == ["[]"]
    assert config_files.read_steps(tmp_path, CLASSES) == ()


@pytest.mark.parametrize("text", [b"\xef\xbb\xbf- threshold\r\n", b"- threshold\r"])
def test_what_other_systems_editors_save_is_read(tmp_path: Path, text: bytes) -> None:
    assert read(tmp_path, text) == (Threshold(),)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- treshold", ":\n  postprocess.0: unknown name 'treshold', did you mean threshold? (known:"),
        ("- {name: threshold, valeu: 1}", ":\n  postprocess.0.valeu: unknown key, did you mean "),
        ("- fill_holes\n- {name: threshold, value: 3}", ":\n  postprocess.1.value: Input should be "),
        ("- {name: drop_small}", ":\n  postprocess.0.min_mm3: missing"),
        ("- {threshold: 0.4}", ":\n  postprocess.0: has no name; expected a bare name, or {name: "),
        ("-", ":\n  postprocess.0: Input should be"),
        ("threshold", ": expected a list of steps, one a line, such as `- fill_holes` (none: [])"),
        ("{}", ": expected a list of steps"),
        ("no", ": expected a list of steps"),
        ("postprocess:\n- threshold", ": has a line `postprocess:` as a config has; leave it out"),
        ("- {name: threshold", ": not YAML: while parsing"),
        ("- 2024-13-45", ":\n  postprocess.0: unknown name '2024-13-45'"),
        ("- threshold".encode("utf-16"), ": is UTF-16, or no text; save it as UTF-8"),
        (b"- \xff\xfe", ": byte 0xff in line 1, place 3, is not UTF-8"),
        ("- {name: threshold, value: .4, value: .5}", ": value: given twice, in line 1 and in"),
        ("- {name: keep_largest, only: [aa]}", ":\n  postprocess.0.only: no class 'aa', did you mean"),
        ("- fill_holes\n- threshold", ":\n  postprocess.0: fill_holes does nothing, as threshold"),
    ],
)  # fmt: skip
def test_a_slip_of_the_pen_is_named_with_its_place(tmp_path: Path, text: str | bytes, told: str) -> None:
    with pytest.raises(UserError) as refused:
        read(tmp_path, text, ("aaa", "b"))

    assert str(refused.value).startswith(f"{tmp_path / POSTPROCESS}{told}")


def test_all_slips_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        read(tmp_path, "- {name: threshold, value: 2}\n- {name: keep_largest, kk: 1}")
    assert len(str(refused.value).splitlines()) == 3

    with pytest.raises(UserError) as refused:
        read(tmp_path, "- {name: fill_holes, only: [x]}\n- keep_largest\n- threshold")
    assert len(str(refused.value).splitlines()) == 3
