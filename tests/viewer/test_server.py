"""The server as a process: how it starts and ends, what it takes of memory, and what it does not take."""

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from tests import documented, viewed
from volseg import cli
from volseg.data.volume import stack_affine
from volseg.viewer import view as stage

pytestmark = pytest.mark.slow
pytest.importorskip("uvicorn", reason="the extra `view` is not installed")
SHAPE = (266, 266, 144)
CLASSES = ("large_bowel", "small_bowel", "stomach")
LARGE = 2 << 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A scan of the competition's size: an image, and three masks."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 4000, SHAPE, dtype=np.uint16)
    masks = {}
    for number, name in enumerate(CLASSES):
        masks[name] = np.zeros(SHAPE, bool)
        masks[name][60 : 160 + 10 * number, 80:180, 30:110] = rng.random((100 + 10 * number, 100, 80)) < 0.9
    out = tmp_path_factory.mktemp("large") / "predictions"
    out.mkdir()
    return viewed.prediction_of(out, "case9_day0", masks, stack_affine((1.5, 1.5), 3.0), image)


@pytest.fixture(scope="module")
def server(folder):
    with viewed.Server("--predictions", str(folder)) as started:
        yield started


def files(folder: Path) -> dict[str, int]:
    """When each file was written; a lock is there while a tab is."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path): path.stat().st_mtime_ns for path in paths}


def test_it_prints_an_address_of_this_machine_with_a_token(server) -> None:
    place = urlsplit(server.address)

    assert (place.scheme, place.hostname) == ("http", "127.0.0.1")
    assert len(place.path.strip("/")) >= 32
    assert server.viewer().json("api/scans")["scans"][0]["name"] == "case9_day0"


def test_it_listens_nowhere_else(server) -> None:
    port = urlsplit(server.address).port
    listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ours = [fields[1] for fields in listening if fields[1].endswith(f":{port:04X}") and fields[3] == "0A"]

    assert ours == [f"0100007F:{port:04X}"]


def exchange(server, head: str, chunks, seconds: float = 60.0) -> bytes:
    """What comes back for a request that is written by hand; it stops where the server does not listen."""
    place = urlsplit(server.address)
    with socket.create_connection((place.hostname, place.port), timeout=seconds) as connection:
        text = f"{head}\r\nHost: {place.hostname}:{place.port}\r\n".replace("TOKEN/", place.path[1:])
        try:
            connection.sendall(text.encode())
            for chunk in chunks:
                connection.sendall(chunk)
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = b""
        try:
            while part := connection.recv(1 << 16):
                answer += part
                if b"\r\n\r\n" in answer and b'"error"' in answer:
                    break
        except (ConnectionResetError, TimeoutError):
            pass
        return answer


def test_two_gigabytes_are_not_taken_whether_announced_or_not(server, folder) -> None:
    viewer = server.viewer()
    viewer.enter("case9_day0")
    before, memory = files(folder), server.peak_mb
    put = "PUT /TOKEN/api/scans/case9_day0/corrected HTTP/1.1"
    edit = "POST /TOKEN/api/scans/case9_day0/edit/fill-holes?class=stomach HTTP/1.1"
    part = b"%x\r\n" % (1 << 20) + bytes(1 << 20) + b"\r\n"

    def announced():
        yield f"Content-Length: {LARGE}\r\n\r\n".encode()

    def streamed():
        yield b"Transfer-Encoding: chunked\r\n\r\n"
        for _ in range(LARGE >> 20):
            yield part

    for head in (put, edit):
        assert exchange(server, head, announced()).startswith(b"HTTP/1.1 413")
        begun = time.monotonic()
        answer = exchange(server, head, streamed())
        assert answer == b"" or answer.startswith(b"HTTP/1.1 413")
        assert time.monotonic() - begun < 30
    assert files(folder) == before
    assert server.peak_mb < memory + 100
    assert viewer.ask("GET", "api/scans").status_code == 200
    viewer.ask("POST", "api/scans/case9_day0/writer/release", json={"writer": viewer.key})


def test_a_browser_that_goes_away_while_it_saves_leaves_everything_as_it_was(server, folder) -> None:
    viewer = server.viewer()
    viewer.enter("case9_day0")
    before = files(folder)
    put = "PUT /TOKEN/api/scans/case9_day0/corrected HTTP/1.1"
    place = urlsplit(server.address)
    with socket.create_connection((place.hostname, place.port)) as connection:
        head = f"{put}\r\nHost: {place.hostname}:{place.port}\r\nContent-Length: 30000000\r\n\r\n"
        connection.sendall(head.replace("TOKEN/", place.path[1:]).encode() + b"{}\n" + bytes(1 << 20))

    assert viewer.ask("GET", "api/scans").status_code == 200
    assert files(folder) == before
    viewer.ask("POST", "api/scans/case9_day0/writer/release", json={"writer": viewer.key})


def test_a_whole_sitting_stays_below_500_mb(server, folder) -> None:
    """Everything that the page asks for: facts, image, masks, operations, autosaves, a save, pictures."""
    viewer = server.viewer()
    viewer.enter("case9_day0")
    viewer.volume("case9_day0", "image")
    masks = viewer.masks("case9_day0")
    masks["stomach"][0, 0, 0] = 1
    for operation in ("fill-holes", "fill-between", "keep-largest"):
        answer = viewer.edit("case9_day0", operation, masks["stomach"], **{"class": "stomach"})
        assert answer.status_code == 200
    for place in ("unsaved", "unsaved", "corrected"):
        answer = viewer.save("case9_day0", masks.values(), place)
        assert answer.status_code == 200, answer.text
    viewer.ask("GET", "pictures/case9_day0/70.png")
    viewer.ask("POST", "api/scans/case9_day0/writer/release", json={"writer": viewer.key})

    assert answer.json()["classes"]["stomach"]["changed_voxels"] == 1
    assert server.peak_mb < 500


def test_it_loads_neither_torch_nor_monai() -> None:
    code = (
        "import sys, volseg.viewer.server, volseg.viewer.view; "
        "print(*{'torch', 'monai', 'pandas', 'matplotlib', 'cv2', 'jinja2', 'SimpleITK'} & {*sys.modules})"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert told.stdout.split() == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, -15)])
def test_it_ends_by_a_signal_at_once_and_without_a_trace(folder, number, code) -> None:
    with viewed.Server("case9_day0", "--predictions", str(folder)) as server:
        viewer = server.viewer()
        viewer.enter("case9_day0")
        begun = time.monotonic()

        assert server.stop(number) == code
        assert time.monotonic() - begun < 10
        assert "Traceback" not in server.said
        if number == signal.SIGINT:
            assert server.said == "volseg: view ended\n"
    assert not (folder / "case9_day0/.lock").exists()


def test_two_servers_on_one_folder_know_of_each_other(server, folder) -> None:
    with viewed.Server("--predictions", str(folder), "--reviewer", "Second") as second:
        first_page, second_page = server.viewer(), second.viewer()
        first_page.enter("case9_day0")

        answer = second_page.ask("POST", "api/scans/case9_day0/writer", content=b"{}")

        assert answer.status_code == 409
        assert "another volseg" in answer.json()["error"]
        first_page.ask("POST", "api/scans/case9_day0/writer/release", json={"writer": first_page.key})
        second_page.enter("case9_day0")
        assert second_page.facts("case9_day0")["reviewer"] == "Second"


def test_a_server_killed_while_it_saves_leaves_the_old_masks_or_the_new_ones(folder, tmp_path) -> None:
    """Killed at some moments of a save; the next server finds whole masks, and has the scan for itself."""
    from volseg.inference.correction_file import read_correction
    from volseg.system.files import file_sha256

    scan = folder / "case9_day0"
    for milliseconds in (5, 60, 250):
        with viewed.Server("--predictions", str(folder)) as server:
            viewer = server.viewer()
            viewer.enter("case9_day0")
            facts = viewer.facts("case9_day0")
            told = {"writer": viewer.key, "base": {one["name"]: one["base"] for one in facts["classes"]}}
            sent = viewed.body(told, viewer.masks("case9_day0").values())
            code = "import sys, httpx; httpx.put(sys.argv[1], content=sys.stdin.buffer.read(), timeout=60)"
            address = f"{server.address}api/scans/case9_day0/corrected"
            client = subprocess.Popen(
                [sys.executable, "-c", code, address], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            client.stdin.write(sent)
            client.stdin.close()
            while not [*scan.glob(".partial-*")] and client.poll() is None:
                time.sleep(0.001)
            time.sleep(milliseconds / 1000)
            server.process.kill()
            server.process.wait()
            client.wait(timeout=60)
        correction = read_correction(scan)
        for name, one in correction.classes.items() if correction else ():
            assert file_sha256(scan / f"corrected/{name}.nii.gz") == one.file
    with viewed.Server("--predictions", str(folder)) as server:
        server.viewer().enter("case9_day0")
        assert not [*scan.glob(".partial-*")]


def refused(*words: str, capsys) -> str:
    def serve(*_: object, **__: object) -> None:
        pytest.fail("it was not refused")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("uvicorn.Server.run", serve)
        assert cli.run_command(["view", *words, "--no-browser"]) == 1
    return capsys.readouterr().err


def test_a_name_that_is_nearly_a_scan_is_told_the_scan(folder, capsys) -> None:
    told = refused("case9_day1", "--predictions", str(folder), capsys=capsys)

    assert "did you mean case9_day0?" in told


def test_a_port_that_is_taken_is_told(server, folder, capsys) -> None:
    port = urlsplit(server.address).port

    assert "can't be used" in refused("--predictions", str(folder), "--port", str(port), capsys=capsys)


def test_a_number_that_is_no_port_is_told(folder, capsys) -> None:
    assert cli.run_command(["view", "--port", "70000"]) == 1
    assert "no port" in capsys.readouterr().err


def test_a_folder_without_predictions_is_told(tmp_path, capsys) -> None:
    assert "no predicted scan" in refused("--predictions", str(tmp_path), capsys=capsys)


def test_a_dataset_without_the_scans_is_told(folder, data, capsys) -> None:
    told = refused("--predictions", str(folder), "--data", str(data), capsys=capsys)

    assert "none of the predicted scans" in told or "another image" in told


def test_a_missing_extra_is_told(folder, capsys, monkeypatch) -> None:
    monkeypatch.setattr(stage, "find_spec", lambda _: None)

    assert "pip install 'volseg[view]'" in refused("--predictions", str(folder), capsys=capsys)


@pytest.mark.parametrize("named", ["scan", "folder", "case"])
def test_a_scan_may_be_named_by_its_folder_and_a_folder_by_its_path(folder, named) -> None:
    words = {"scan": [str(folder / "case9_day0")], "folder": [str(folder)], "case": ["case9"]}[named]
    more = ["--predictions", str(folder)] if named == "case" else []
    with viewed.Server(*words, *more) as server:
        answer = server.viewer().ask("GET", "")

        assert (answer.status_code == 307) == (named != "folder")
        assert json.loads(server.viewer().ask("GET", "api/scans").content)["folder"] == str(folder)


def test_the_docs_name_the_extra() -> None:
    assert 'pip install "volseg[view]"' in (documented.ROOT / "docs/howto/view_and_correct.md").read_text()
