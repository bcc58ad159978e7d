import os
import threading
from pathlib import Path

import pytest

from volseg.errors import OutputError
from volseg.model.engines import conversion
from volseg.model.engines.conversion import converted_file


@pytest.fixture
def converted(monkeypatch) -> list[Path]:
    """The files that were converted, which hold their own paths."""
    made: list[Path] = []

    def convert(_folder, _kind, file, *, network, shape) -> None:
        del network, shape
        made.append(file)
        file.write_text(str(file))

    monkeypatch.setattr(conversion, "convert_in_subprocess", convert)
    return made


def ask(folder: Path, digest: str = "abc") -> Path:
    return converted_file(folder, "openvino", digest=digest, network=lambda: None, shape=(1, 4, 4, 4))


def test_a_network_is_converted_once_in_the_runs_folder_in_place_of_older_ones(tmp_path, converted):
    first = ask(tmp_path)
    (first.parent / "compiled").mkdir()  # of an earlier version

    assert ask(tmp_path) == first
    assert converted == [first]
    second = ask(tmp_path, "def")
    assert list(second.parent.iterdir()) == [second]


def test_a_run_that_cannot_be_written_has_its_network_in_the_users_cache(tmp_path, converted, monkeypatch):
    run, cache = tmp_path / "run", tmp_path / "cache"
    run.mkdir()
    monkeypatch.setattr(conversion, "user_cache", lambda: cache)
    monkeypatch.setattr(os, "access", lambda path, _mode: path != run)

    file = ask(run)

    assert file.is_relative_to(cache)
    assert not list(run.iterdir())
    assert (ask(run), converted) == (file, [file])


def test_a_run_that_cannot_be_written_but_holds_its_network_is_used_as_it_is(
    tmp_path, converted, monkeypatch
):
    file = ask(tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)

    assert (ask(tmp_path), converted) == (file, [file])


def test_of_two_commands_at_once_one_converts_and_the_other_waits(tmp_path, converted):
    begun, found = threading.Event(), []
    convert = conversion.convert_in_subprocess

    def slowly(*args, **kwargs):
        begun.set()
        other.join(0.2)
        convert(*args, **kwargs)

    other = threading.Thread(target=lambda: (begun.wait(), found.append(ask(tmp_path))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conversion, "convert_in_subprocess", slowly)
        other.start()
        file = ask(tmp_path)
        other.join()
    assert (found, converted) == ([file], [file])


def test_a_disk_that_is_full_is_no_fault_of_the_network(tmp_path, monkeypatch):
    import torch

    class Library:
        def convert_model(self, *_args, **_kwargs):
            return self

        def reshape(self, _shape):
            pass

        def save_model(self, *_args, **_kwargs):
            raise RuntimeError("basic_ios::clear: iostream error")

    monkeypatch.setattr("volseg.model.engines.openvino.import_openvino", Library)
    with pytest.raises(OutputError, match="the disk is full"):
        conversion._write_openvino(torch.nn.Identity(), torch.zeros(1, 1, 4, 4, 4), tmp_path / "n.xml")
