import errno
import os
from pathlib import Path

import pytest

from volseg.errors import OutputError, UserError
from volseg.system.files import PREFIX, atomic_folder, atomic_path, read_text, write_text


def rests(folder: Path) -> list[Path]:
    return list(folder.rglob(f"{PREFIX}*"))


def test_the_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.nii.gz"

    with atomic_path(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        assert temporary.name.endswith("a.nii.gz")
        temporary.write_text("whole")

    assert path.read_text() == "whole"
    assert not rests(tmp_path)


@pytest.mark.parametrize("fault", [KeyboardInterrupt, ZeroDivisionError])
def test_a_stopped_write_leaves_the_old_file_and_no_rest(tmp_path: Path, fault) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def write() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise fault

    with pytest.raises(fault):
        write()

    assert path.read_text() == "old"
    assert not rests(tmp_path)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (errno.ENOSPC, "the disk is full; free some space"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EACCES, "permission denied; choose another"),
        (errno.EPERM, "not permitted; choose another"),
        (errno.EROFS, "read-only; choose another"),
        (errno.EIO, "the drive fails"),
        (errno.EFBIG, "of this size are not allowed"),
        (errno.ENAMETOOLONG, "choose a shorter name"),
        (errno.ESTALE, "has lost the file; run the command again"),
    ],
)
def test_what_the_system_refuses_is_a_message(tmp_path: Path, code: int, text: str) -> None:
    def write() -> None:
        with atomic_path(tmp_path / "a.txt"):
            raise OSError(code, "refused")

    with pytest.raises(OutputError, match=rf"a\.txt: can't be written: .*{text}"):
        write()


def test_a_file_in_the_way_of_a_folder_is_a_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(OutputError, match="a part of its path is a file"):
        write_text(tmp_path / "file" / "a.txt", "text")


def test_other_faults_of_the_system_are_ours_to_see(tmp_path: Path) -> None:
    def write() -> None:
        with atomic_path(tmp_path / "a.txt"):
            raise OSError(errno.EBADF, "broken")

    with pytest.raises(OSError, match="broken"):
        write()


def test_a_file_is_on_the_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch) -> None:
    path, synced = tmp_path / "a.txt", []
    write_text(path, "old")

    def note(descriptor: int) -> None:
        synced.append((os.fstat(descriptor).st_size, path.read_text()))

    monkeypatch.setattr(os, "fsync", note)
    write_text(path, "newer")

    assert synced == [(5, "old")]


def test_a_disk_that_is_full_only_once_it_is_asked_leaves_the_old_file(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def refuse(_descriptor: int) -> None:  # as network drives do
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OutputError, match="the disk is full"):
        write_text(path, "new")

    assert path.read_text() == "old"
    assert not rests(tmp_path)


def test_a_folder_appears_whole_in_place_of_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "folder"
    for name in ("a", "b"):
        with atomic_folder(target) as folder:
            (folder / name).touch()
            assert not (target / name).exists()

    assert [path.name for path in target.iterdir()] == ["b"]
    assert list(target.parent.iterdir()) == [target]


def test_a_folder_stays_as_it_was_when_the_body_raises(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    (target / "a").touch()

    def interrupted() -> None:
        with atomic_folder(target) as folder:
            (folder / "b").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert [path.name for path in target.iterdir()] == ["a"]
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("größe".encode("latin-1"), r": byte 0xf6 in line 1, place 3, is not UTF-8"),
        ("a\nb\nä".encode("latin-1"), r": byte 0xe4 in line 3, place 1, is not UTF-8"),
        ("a: 1".encode("utf-16"), r": is UTF-16, or no text; save it as UTF-8"),
        ("a: 1".encode("utf-16-le"), r": is UTF-16, or no text; save it as UTF-8"),
    ],
)
def test_a_file_that_is_not_utf_8_is_told_with_the_place(tmp_path: Path, data: bytes, told: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(data)

    with pytest.raises(UserError, match=rf"a\.yaml{told}"):
        read_text(path)


def test_the_mark_that_editors_put_before_utf_8_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes("größe".encode("utf-8-sig"))

    assert read_text(path) == "größe"


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.yaml: can't be read: No such file"):
        read_text(tmp_path / "a.yaml")


def test_what_is_no_file_is_never_replaced(tmp_path: Path) -> None:
    """As root, the rename would put a file in place of /dev/null."""
    pipe, folder = tmp_path / "pipe", tmp_path / "folder"
    os.mkfifo(pipe)
    folder.mkdir()

    for path in (pipe, folder):
        with pytest.raises(OutputError, match="can't be written: it is no file; name another"):
            write_text(path, "text")

    assert pipe.is_fifo()
    assert not rests(tmp_path)
