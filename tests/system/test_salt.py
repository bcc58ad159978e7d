import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from volseg.errors import UserError
from volseg.system import salt as module
from volseg.system.salt import folder_salt, salted_name, user_salt


def test_a_salt_is_made_once_and_only_its_user_reads_it(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "volseg"

    salts = [folder_salt(folder) for _ in range(2)]

    assert salts[0] == salts[1]
    assert len(salts[0]) == module.SALT_BYTES
    assert stat.S_IMODE((folder / "salt").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [path.name for path in folder.iterdir()] == ["salt"]


def test_processes_that_start_together_agree_on_the_salt(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        salts = {*pool.map(lambda _: folder_salt(tmp_path), range(32))}

    assert len(salts) == 1


def test_the_users_salt_lies_in_the_folder_for_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    user_salt.cache_clear()

    assert user_salt() == (tmp_path / "volseg" / "salt").read_bytes()


def test_without_a_place_for_the_salt_names_are_made_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    user_salt.cache_clear()

    assert len(user_salt()) == module.SALT_BYTES
    assert "XDG_DATA_HOME" in caplog.text
    user_salt.cache_clear()


def test_a_damaged_salt_is_told(tmp_path: Path) -> None:
    (tmp_path / "salt").write_bytes(b"short")

    with pytest.raises(UserError, match="is no salt of 32 bytes"):
        folder_salt(tmp_path)


def test_names_differ_by_their_texts_and_by_the_salt() -> None:
    names = [
        salted_name("scan", *texts, salt=salt)
        for texts in (("a", "b"), ("ab",), ("a", "", "b"), ("b", "a"))
        for salt in (b"1", b"2")
    ]

    assert len({*names}) == len(names)
    assert all(len(name) == len("scan_") + module.DIGITS for name in names)
