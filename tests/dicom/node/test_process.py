"""A node as a process of its own: killed, stopped, without space, and silent about patients."""

import os
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("pynetdicom", reason="needs volseg[dicom]")

from pydicom import dcmread

from tests import dicom_node
from tests.dicom_node import PATIENCE, NodeProcess, Pacs, send, values, wait_until
from tests.dicom_series import write_series

SHAPE = (4, 8, 8)
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of pydicom, which sends
CANARIES = {
    "PatientName": "CANARYNAME^Zoé",
    "PatientID": "CANARYID",
    "PatientBirthDate": "19331231",
    "AccessionNumber": "CANARYACC",
    "StudyDescription": "CANARYSTUDY ../../canarypath",
    "SeriesDescription": "CANARYSERIES ../../canarypath",
    "InstitutionName": "CANARYPLACE",
    "StudyDate": "19991231",
    "StudyInstanceUID": "1.2.826.77777.1",
    "SeriesInstanceUID": "1.2.826.77777.2",
    "FrameOfReferenceUID": "1.2.826.77777.3",
}
PLANTED = re.compile(rb"canary|77777|19331231|19991231|IM000", re.IGNORECASE)


@pytest.fixture
def pacs():
    partner = Pacs()
    yield partner
    partner.close()


@pytest.fixture
def node(tmp_path):
    """A function that starts a node with this spool; the last one is ended."""
    started = []

    def start(port: int, *, wish: str = "0", **changes) -> NodeProcess:
        given = values(tmp_path / "spool", port, **changes)
        log = str(tmp_path / "starts.txt")
        started.append(NodeProcess(given, tmp_path / "node.log", STAND_IN=wish, STAND_IN_LOG=log))
        return started[-1]

    yield start
    for one in started:
        one.kill()


def starts(tmp_path) -> list[int]:
    log = tmp_path / "starts.txt"
    return list(map(int, log.read_text().split())) if log.exists() else []


def state(tmp_path, name: str) -> list[Path]:
    spool = tmp_path / "spool"
    return dicom_node.done_jobs(spool) if name == "done" else list(spool.glob(f"{name}/*"))


def has_child(tmp_path) -> bool:
    """Whether a process works in the spool, other than the node."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(place.read_bytes())
        except OSError:
            continue
    return any(b"contour_stand_in" in words and str(tmp_path).encode() in words for words in found)


def test_acknowledged_images_outlive_a_kill_while_they_come(tmp_path, pacs, node) -> None:
    images = write_series(tmp_path / "images", shape=SHAPE)
    first = node(pacs.port)
    assert send(images[:3], first.port) == [0x0000] * 3
    first.kill()
    second = node(pacs.port)
    assert second.send(images[3:]) == [0x0000]
    wait_until(lambda: state(tmp_path, "done"))

    assert starts(tmp_path) == [4]
    assert len(pacs.received) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="a child ends with its parent on Linux only")
def test_a_job_that_was_killed_with_the_node_is_done_after_the_next_start(tmp_path, pacs, node) -> None:
    images = write_series(tmp_path / "images", shape=SHAPE)
    one = node(pacs.port, wish="300")
    one.send(images)
    for count in (1, 2, 3):  # more often than a process that dies by itself is tried
        wait_until(lambda count=count: len(starts(tmp_path)) == count and has_child(tmp_path))
        one.kill()
        wait_until(lambda: not has_child(tmp_path))
        one = node(pacs.port, wish="300" if count < 3 else "0")
    wait_until(lambda: state(tmp_path, "done"))

    assert starts(tmp_path) == [4] * 4
    assert len(pacs.received) == 2
    assert not state(tmp_path, "dead")


def test_a_late_slice_outlives_a_kill_before_it_is_looked_at(tmp_path, pacs, node) -> None:
    images = write_series(tmp_path / "images", shape=SHAPE)
    first = node(pacs.port)
    first.send(images[:3])
    wait_until(lambda: state(tmp_path, "done"))
    first.send(images[3:])
    first.kill()
    node(pacs.port)
    wait_until(lambda: len(state(tmp_path, "done")) == 2)

    assert starts(tmp_path) == [3, 4]


def test_results_outlive_a_kill_while_their_destination_is_down(tmp_path, node) -> None:
    images = write_series(tmp_path / "images", shape=SHAPE)
    gone = Pacs()
    gone.close()
    first = node(gone.port)
    first.send(images)
    wait_until(lambda: first.status()["sending"] and "can't be reached" in first.log.read_text())
    first.kill()
    back = Pacs(gone.port)
    node(gone.port)
    wait_until(lambda: state(tmp_path, "done"))
    back.close()

    assert starts(tmp_path) == [4]
    assert len(back.received) == 2


def test_kills_at_any_moment_lose_nothing_and_do_nothing_twice(tmp_path, pacs, node) -> None:
    images = write_series(tmp_path / "images", shape=SHAPE)
    for moment in (0.0, 0.3, 0.6, 0.9):  # from the first image to the last delivery
        one = node(pacs.port, wish="0.1")
        answers = one.send(images)
        assert answers == [0x0000] * 4
        time.sleep(moment)
        one.kill()
    one = node(pacs.port)
    wait_until(lambda: state(tmp_path, "done") and not one.status()["receiving"])

    assert len(state(tmp_path, "done")) == 1
    assert not state(tmp_path, "jobs")
    assert not state(tmp_path, "dead")
    assert len(pacs.instances) == 2
    assert {*starts(tmp_path)} == {4}


def test_sigterm_lets_the_job_in_work_end_and_takes_no_new_associations(tmp_path, pacs, node) -> None:
    images = write_series(tmp_path / "images", shape=SHAPE)
    one = node(pacs.port, wish="1.5")
    one.send(images)
    wait_until(lambda: starts(tmp_path))
    one.process.send_signal(signal.SIGTERM)
    wait_until(lambda: one.status()["state"] == "draining")
    wait_until(lambda: send(images, one.port) is None)

    assert one.process.wait(PATIENCE) == 0
    assert state(tmp_path, "done")
    assert len(pacs.received) == 2
    assert one.status()["state"] == "stopped"


def test_sigterm_puts_a_long_job_back(tmp_path, pacs, node) -> None:
    images = write_series(tmp_path / "images", shape=SHAPE)
    one = node(pacs.port, wish="60", drain_seconds=0.2)
    one.send(images)
    wait_until(lambda: starts(tmp_path))
    assert one.stop() == 0
    assert '"state": "waiting"' in next((tmp_path / "spool").glob("jobs/*/job.json")).read_text()
    node(pacs.port)
    wait_until(lambda: state(tmp_path, "done"))

    assert len(pacs.received) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="a limit of files is set from outside on Linux only")
def test_no_space_for_an_image_loses_nothing(tmp_path, pacs, node) -> None:
    import resource

    images = write_series(tmp_path / "images", shape=(4, 128, 128))
    one = node(pacs.port)
    _, hard = resource.prlimit(one.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(one.process.pid, resource.RLIMIT_FSIZE, (20_000, hard))
    assert one.send(images) == [0xA700] * 4
    resource.prlimit(one.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
    assert one.send(images) == [0x0000] * 4
    wait_until(lambda: state(tmp_path, "done"))

    assert starts(tmp_path) == [4]
    wait_until(lambda: not list((tmp_path / "spool/incoming").iterdir()))


def test_a_second_node_may_not_have_the_spool(tmp_path, pacs, node) -> None:
    first = node(pacs.port)
    command = [sys.executable, dicom_node.__file__, str(first.log.with_suffix(".yaml"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)

    assert done.returncode != 0
    assert "another node works with this spool; stop it first" in done.stderr
    assert first.process.poll() is None


def test_a_spool_that_others_may_read_is_refused(tmp_path, pacs, node) -> None:
    (tmp_path / "spool").mkdir(mode=0o755)
    with pytest.raises(AssertionError, match="others may read the spool; take that away by chmod 700"):
        node(pacs.port)


@pytest.fixture
def hostile(tmp_path) -> list[Path]:
    """A series with a patient in every place that may have one, and a charset that is none."""
    tags = {**CANARIES, "SOPInstanceUID": lambda number: f"1.2.826.77777.4.{number}"}
    images = write_series(tmp_path / "canary-images", shape=SHAPE, **tags)
    for number, path in enumerate(images):
        image = dcmread(path)
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        block = image.private_block(0x0019, "CANARYMAKER", create=True)
        block.add_new(1, "LO", "CANARYPRIVATE")
        if number % 2:
            image.SpecificCharacterSet = "CANARY_CHARSET"
        image.save_as(path)
    return images


def assert_silent(spool: Path, *logs: Path) -> None:
    for path in spool.rglob("*"):
        assert not PLANTED.search(str(path.relative_to(spool)).encode()), path
        if path.is_file() and path.suffix != ".dcm":
            assert not PLANTED.search(path.read_bytes()), path
    for log in logs:
        assert not PLANTED.search(log.read_bytes()), log.read_text()


def assert_private(spool: Path) -> None:
    for path in (spool, *spool.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), (path, oct(mode))


def test_nothing_tells_the_patient_but_the_images_and_their_results(tmp_path, pacs, node, hostile) -> None:
    one = node(pacs.port, wish="1")
    assert one.send(hostile) == [0x0000] * 4
    wait_until(lambda: starts(tmp_path))
    assert_silent(tmp_path / "spool", one.log)
    assert_private(tmp_path / "spool")
    wait_until(lambda: state(tmp_path, "done"))
    one.stop()

    assert_silent(tmp_path / "spool", one.log)
    assert_private(tmp_path / "spool")
    assert {str(result.PatientID) for result in pacs.received} == {"CANARYID"}


def test_failures_and_rejections_do_not_tell_the_patient(tmp_path, pacs, node, hostile) -> None:
    one = node(pacs.port, wish="refuse")
    broken = dcmread(hostile[0])
    del broken.SeriesInstanceUID
    broken.save_as(tmp_path / "broken.dcm")
    assert one.send([tmp_path / "broken.dcm", *hostile]) == [0xC000, *[0x0000] * 4]
    assert send(hostile, one.port, calling="STRANGER") is None
    wait_until(lambda: state(tmp_path, "dead"))
    one.stop()

    assert_silent(tmp_path / "spool", one.log)
    assert_private(tmp_path / "spool")
    assert "rejected 'STRANGER' from 127.0.0.1" in one.log.read_text()


def test_a_private_umask_does_not_depend_on_the_callers(tmp_path, pacs, node) -> None:
    before = os.umask(0)
    try:
        node(pacs.port)
    finally:
        os.umask(before)

    assert_private(tmp_path / "spool")
