import re
from pathlib import Path
from typing import ClassVar

import pytest

from volseg.errors import UserError
from volseg.runs.run_files import NetworkFile
from volseg.system.json_files import JsonFile, read_json, write_json


class Colours(JsonFile):
    file: ClassVar[str] = "colours.json"
    again: ClassVar[str] = "paint again"
    wall: str


class OfSome(NetworkFile):
    file: ClassVar[str] = "some.json"
    value: int


def test_what_is_written_is_read_again_and_nothing_is_none(tmp_path: Path) -> None:
    assert Colours.read(tmp_path) is None

    Colours(wall="green").write(tmp_path)

    assert Colours.read(tmp_path) == Colours(wall="green")
    assert [file.name for file in tmp_path.iterdir()] == ["colours.json"]


@pytest.mark.parametrize("text", ['{"wal": "green"}', "{}", '{"wall": 3}', "{"])
def test_a_damaged_file_is_named_with_the_way_to_another(tmp_path: Path, text: str) -> None:
    (tmp_path / Colours.file).write_text(text)

    with pytest.raises(UserError) as error:
        Colours.read(tmp_path)

    for line in str(error.value).splitlines():
        assert line.startswith(str(tmp_path / "colours.json"))
        assert line.endswith("; paint again")


def test_a_file_that_cannot_be_read_is_told_as_a_users_mistake(tmp_path: Path) -> None:
    path = tmp_path / "colours.json"

    with pytest.raises(
        UserError, match=f"^{re.escape(str(path))}: can't be read: No such file or directory$"
    ):
        read_json(path, Colours)


def test_plain_values_and_models_are_written_alike(tmp_path: Path) -> None:
    for name, content in (("model", Colours(wall="green")), ("values", {"wall": "green"})):
        write_json(tmp_path / name, content)
        assert (tmp_path / name).read_text() == '{\n "wall": "green"\n}\n'
    write_json(tmp_path / "short", Colours(wall="green"), indent=None)
    assert (tmp_path / "short").read_text() == '{"wall":"green"}\n'


def test_facts_of_networks_are_found_in_the_runs_folder_or_the_one_above(tmp_path: Path) -> None:
    fold = tmp_path / "five" / "fold0"
    fold.mkdir(parents=True)
    assert OfSome.find_for_run(fold, "a") == (None, "")

    OfSome(weights=("a", "b"), value=1).write(fold.parent)
    assert OfSome.find_for_run(fold, "b") == (OfSome(weights=("a", "b"), value=1), "")
    assert OfSome.find_for_run(fold, "c") == (None, "")  # trained on since

    OfSome(weights=("b",), value=2).write(fold)
    assert OfSome.find_for_run(fold, "b") == (OfSome(weights=("b",), value=2), "")
    assert OfSome.find_for_run(fold, "a") == (OfSome(weights=("a", "b"), value=1), "")


@pytest.mark.parametrize("text", ["{", "{}", '{"scale": 1.5}', "[]", "\xff"])
def test_a_file_of_others_by_this_name_is_told_and_stops_nothing(tmp_path: Path, text: str) -> None:
    fold = tmp_path / "five" / "fold0"
    fold.mkdir(parents=True)
    (fold / OfSome.file).write_text(text, encoding="latin-1")

    found, problem = OfSome.find_for_run(fold, "a")
    assert found is None
    assert problem.startswith(f"{fold / OfSome.file}: ")

    OfSome(weights=("a",), value=1).write(fold.parent)
    assert OfSome.find_for_run(fold, "a") == (OfSome(weights=("a",), value=1), "")


def test_a_key_twice_in_one_object_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / Colours.file).write_text('{"wall": "green", "wall": "red"}')

    with pytest.raises(
        UserError, match=r"colours\.json: the key 'wall' twice in one object; keep one; paint again"
    ):
        Colours.read(tmp_path)


def test_a_file_of_another_encoding_is_told(tmp_path: Path) -> None:
    (tmp_path / Colours.file).write_bytes('{"wall": "grün"}'.encode("latin-1"))

    with pytest.raises(UserError, match=r"colours\.json: byte 0xfc in line 1, place 13, .*; paint again"):
        Colours.read(tmp_path)
