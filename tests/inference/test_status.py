"""`volseg status`: what records tell of the work, while it goes on and after."""

import json
import re
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests import predicted, tiny
from volseg import cli
from volseg.cli import status as command
from volseg.errors import UserError
from volseg.inference import status
from volseg.inference.prediction_folder import STOPPED
from volseg.inference.status import StatusReader

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)


def record(folder: Path, scan: str, *, ago_s: float | None = None, host: str = "n1", **told) -> None:
    """A record that was finished so many seconds before NOW."""
    finished = "" if ago_s is None else (NOW - timedelta(seconds=ago_s)).isoformat().replace("+00:00", "Z")
    predicted.record(folder, scan, computed={"host": host, "finished": finished}, **told)


def test_scans_are_done_failed_begun_or_corrected(tmp_path: Path) -> None:
    for scan in ("a", "b"):
        record(tmp_path, scan)
    (tmp_path / "b" / "corrected").mkdir()
    (tmp_path / "b" / "corrected" / "correction.json").write_text("{}")
    record(tmp_path, "c", status="failed", reason=STOPPED)
    record(tmp_path, "d", status="failed", reason="/x/d.nii.gz: zero bytes\nand more")
    record(tmp_path, "e", status="failed", reason="/x/e.nii.gz: zero bytes")
    record(tmp_path, "f", status="failed", reason="out of memory")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "record.json").write_text('{"status": ')
    (tmp_path / "scores").mkdir()
    (tmp_path / "predictions.json").write_text("[]")

    found = StatusReader(tmp_path).read(NOW)

    assert (found.done, found.corrected, found.failed, found.begun, found.unreadable) == (2, 1, 3, 1, 1)
    assert found.begun_scans == ("c",)
    assert [(one.count, one.reason, one.scans) for one in found.reasons] == [
        (2, "/x/*.nii.gz: zero bytes", ("d", "e")),
        (1, "out of memory", ("f",)),
    ]
    assert (found.total, found.left, found.seconds_left) == (None, None, None)


def test_the_dataset_tells_what_is_left_and_the_rate_how_long_it_takes(tmp_path: Path) -> None:
    data = tiny.write(tmp_path / "data", cases=4, days=1)
    names = [sample.name for sample in data.samples]
    record(tmp_path / "out", names[0], ago_s=120)
    record(tmp_path / "out", names[1], ago_s=60, host="n2", status="failed", reason="x")
    record(tmp_path / "out", "of another dataset", ago_s=1)

    found = StatusReader(tmp_path / "out", tmp_path / "data").read(NOW)

    assert (found.total, found.done, found.failed, found.left) == (4, 1, 1, 2)
    assert found.per_minute == pytest.approx(0.5)  # the second one, in the two minutes since the first
    assert found.seconds_left == pytest.approx(240)
    assert [(one.host, one.done, one.failed) for one in found.hosts] == [("n1", 1, 0), ("n2", 0, 1)]


@pytest.mark.parametrize(
    ("ages", "rate"), [((), None), ((5,), None), ((700, 800, 900), None), ((30, 5), 2.0)]
)
def test_the_rate_is_of_the_last_ten_minutes(
    tmp_path: Path, ages: tuple[float, ...], rate: float | None
) -> None:
    record(tmp_path, "earlier version", host="")
    for number, ago_s in enumerate(ages):
        record(tmp_path, f"s{number}", ago_s=ago_s)

    assert StatusReader(tmp_path).read(NOW).per_minute == rate


def test_only_records_that_changed_are_read_again(tmp_path: Path, monkeypatch) -> None:
    for scan in ("a", "b", "c"):
        record(tmp_path, scan)
    reader, read = StatusReader(tmp_path), []
    original = status._read
    monkeypatch.setattr(status, "_read", lambda name, path: read.append(name) or original(name, path))
    assert reader.read().done == 3
    read.clear()

    (tmp_path / "c" / "record.json").unlink()
    record(tmp_path, "b", status="failed", reason="no longer there")
    found = reader.read()

    assert read == ["b"]
    assert (found.done, found.failed) == (1, 1)


def test_what_comes_and_goes_meanwhile_is_no_error(tmp_path: Path) -> None:
    """As when another process predicts: folders and records appear, are replaced and vanish."""
    record(tmp_path, "there")
    ended = threading.Event()

    def work() -> None:
        for number in range(60):
            scan = f"s{number % 7}"
            record(tmp_path, scan, status="failed", reason=STOPPED)
            (tmp_path / scan / "record.json").unlink()
            (tmp_path / scan).rmdir()
        ended.set()

    worker = threading.Thread(target=work)
    worker.start()
    reader = StatusReader(tmp_path)
    while not ended.is_set():
        assert reader.read().done == 1
    worker.join()


@pytest.mark.parametrize(
    ("folder", "data", "text"),
    [
        ("nowhere", None, "nowhere: no such folder; `volseg infer --out"),
        ("empty", None, "empty: no predicted scan in it; expected <scan>/record.json"),
        ("file", None, "file: can't be read: Not a directory"),
        ("out", "nowhere", "nowhere: no dataset.json; make it with `volseg prepare"),
        ("out", "damaged", "dataset.json: not a dataset of `volseg prepare`"),
    ],
)
def test_what_is_not_there_is_one_clear_line(
    tmp_path: Path, folder: str, data: str | None, text: str
) -> None:
    record(tmp_path / "out", "a")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "dataset.json").write_text('{"samples": 3}')

    with pytest.raises(UserError) as error:
        StatusReader(tmp_path / folder, tmp_path / data if data else None).read()

    assert text in str(error.value)
    assert "\n" not in str(error.value)


def test_json_is_one_object_on_stdout(tmp_path: Path, capsys) -> None:
    record(tmp_path, "a", ago_s=0)

    assert cli.run_command(["status", str(tmp_path), "--json"]) == 0

    out = capsys.readouterr().out
    assert json.loads(out) == json.loads(StatusReader(tmp_path).read().model_dump_json())
    assert out.count("\n") == 1


def test_80_columns_show_counts_hosts_and_reasons(tmp_path: Path, capsys, monkeypatch) -> None:
    tiny.write(tmp_path / "data", cases=5, days=1)
    record(tmp_path, "case1_day0", host="gpu-node-with-a-long-name-01.cluster.example")
    record(tmp_path, "case2_day0", status="failed", reason="case2_day0: [bold]\x1b[2Jno room")
    record(tmp_path, "case3_day0", status="failed", reason=STOPPED)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)

    assert cli.run_command(["status", str(tmp_path), "--data", str(tmp_path / "data")]) == 0

    out = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    assert max(map(len, out.splitlines())) <= 80
    text = " ".join(out.split())
    assert "1 of 5 done, 1 failed, 3 left" in text
    assert "begun, in work or stopped: 1 (case3_day0)" in text
    assert "failed: 1: *: [bold]" in text
    assert "\x1b[2J" not in out


def test_watching_ends_where_nothing_is_left(tmp_path: Path, capsys, monkeypatch) -> None:
    tiny.write(tmp_path / "data", cases=2, days=1)
    record(tmp_path, "case1_day0")
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        record(tmp_path, "case2_day0")

    monkeypatch.setattr(command.time, "sleep", sleep)
    assert cli.run_command(["status", str(tmp_path), "--data", str(tmp_path / "data"), "--watch"]) == 0

    out = capsys.readouterr().out
    assert "1 of 2 done" in out
    assert "2 of 2 done" in out
    assert slept == [command.WATCH_S]


def test_watching_ends_with_ctrl_c(tmp_path: Path, capsys, monkeypatch) -> None:
    record(tmp_path, "a")
    monkeypatch.setattr(command.time, "sleep", lambda _seconds: (_ for _ in ()).throw(KeyboardInterrupt))

    assert cli.run_command(["status", str(tmp_path), "--watch"]) == 0
    assert "status ended" in capsys.readouterr().err
