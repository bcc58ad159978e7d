"""A folder that replaces another: whole under its name all the time, and mended after a kill."""

import sys
from pathlib import Path

import pytest

from volseg.system import files
from volseg.system.files import atomic_folder, restore_folder


def fill(path: Path, text: str) -> None:
    with atomic_folder(path) as new:
        (new / "a").write_text(text)


@pytest.fixture(params=["exchange", "no exchange"])
def system(request, monkeypatch) -> None:
    """One that exchanges two names in one step, and one that can't."""
    if request.param == "no exchange":
        monkeypatch.setattr(files, "_exchange_names", lambda *_: False)


def test_the_new_folder_replaces_the_old_one_and_leaves_nothing(system, tmp_path) -> None:
    fill(tmp_path / "x", "old")
    (tmp_path / "x/b").touch()
    fill(tmp_path / "x", "new")

    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["a"]
    assert (tmp_path / "x/a").read_text() == "new"


def test_an_error_leaves_the_old_one(system, tmp_path) -> None:
    fill(tmp_path / "x", "old")
    with pytest.raises(TypeError):
        fill(tmp_path / "x", None)

    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x/a").read_text() == "old"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux exchanges names")
def test_linux_exchanges_two_folders_in_one_step(tmp_path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()

    assert files._exchange_names(tmp_path / "one", tmp_path / "other")
    assert (tmp_path / "one/other").exists()
    assert (tmp_path / "other/one").exists()
    assert not files._exchange_names(tmp_path / "one", tmp_path / "missing")


def test_after_a_kill_between_two_steps_the_old_one_is_put_back(tmp_path) -> None:
    (tmp_path / ".partial-7-x-old").mkdir()
    (tmp_path / ".partial-7-x-old/a").write_text("old")
    (tmp_path / ".partial-7-x").mkdir()
    restore_folder(tmp_path / "x")

    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x/a").read_text() == "old"


def test_what_is_left_beside_a_whole_one_goes(tmp_path) -> None:
    fill(tmp_path / "x", "new")
    for name in (".partial-7-x-old", ".partial-8-x", ".partial-8-y"):
        (tmp_path / name).mkdir()
    restore_folder(tmp_path / "x")

    assert sorted(path.name for path in tmp_path.iterdir()) == [".partial-8-y", "x"]
    assert (tmp_path / "x/a").read_text() == "new"
