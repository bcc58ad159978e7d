"""The node beside Orthanc: what comes in by storescu comes back as RTSTRUCT and SEG of the same study."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import yaml

pytest.importorskip("pynetdicom", reason="needs volseg[dicom]")

from pydicom import dcmread

from tests import tiny
from tests.dicom_node import PATIENCE, NodeProcess, values, wait_until
from tests.dicom_series import write_series

ORTHANC = shutil.which("Orthanc", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
STORESCU = shutil.which("storescu")
TITLE = "ORTHANC"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Archive:
    """Orthanc on loopback with ports and a folder of its own; it knows the node as `volseg`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.dicom, self.http = folder, free_port(), free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, node_port: int) -> None:
        self.folder.mkdir()
        config = self.folder / "orthanc.json"
        place = str(self.folder / "db")
        config.write_text(json.dumps({
            "Name": "test", "StorageDirectory": place, "IndexDirectory": place,
            "Plugins": [], "DicomAet": TITLE, "DicomPort": self.dicom, "HttpPort": self.http,
            "RemoteAccessAllowed": False, "AuthenticationEnabled": False, "DicomCheckCalledAet": True,
            "DicomAlwaysAllowStore": False, "DicomAlwaysAllowEcho": False, "StableAge": 1,
            "DicomModalities": {"volseg": ["VOLSEG", "127.0.0.1", node_port],
                                "scanner": ["SCANNER", "127.0.0.1", 1]},
        }))  # fmt: skip
        with (self.folder / "log.txt").open("wb") as log:
            self.process = subprocess.Popen([ORTHANC, str(config)], stdout=log, stderr=log)
        wait_until(self.is_up)

    def is_up(self) -> bool:
        try:
            return bool(self.ask("/system"))
        except OSError:
            return False

    def ask(self, path: str, body: str | None = None):
        data = None if body is None else body.encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", data)
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  loopback
            return json.load(answer)

    def modalities(self) -> list[str]:
        """The modalities of the series of the one study."""
        studies = self.ask("/studies")
        assert len(studies) <= 1
        series = self.ask(f"/studies/{studies[0]}/series") if studies else []
        return sorted(one["MainDicomTags"]["Modality"] for one in series)

    def receive(self, images: list[Path]) -> None:
        command = [
            STORESCU,
            "-aet",
            "SCANNER",
            "-aec",
            TITLE,
            "127.0.0.1",
            str(self.dicom),
            *map(str, images),
        ]
        subprocess.run(command, check=True, capture_output=True)

    def forward(self) -> None:
        """Send the images to the node."""
        image = next(one for one in self.ask("/series") if self.is_image(one))
        self.ask("/modalities/volseg/store", image)

    def is_image(self, series: str) -> bool:
        return self.ask(f"/series/{series}")["MainDicomTags"]["Modality"] == "MR"

    def close(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(30)


@pytest.fixture
def archive(tmp_path):
    if ORTHANC is None or STORESCU is None:
        pytest.skip("needs Orthanc and dcmtk (Debian's orthanc and dcmtk)")
    opened = Archive(tmp_path / "orthanc")
    yield opened
    opened.close()


def beside(tmp_path: Path, archive: Archive, **changes):
    """Settings of a node that takes from Orthanc and sends to it."""
    given = values(tmp_path / "spool", **changes)
    given["listen"] |= {"port": free_port(), "callers": [{"ae_title": TITLE, "address": "127.0.0.1"}]}
    place = {"name": "archive", "ae_title": TITLE, "host": "127.0.0.1", "port": archive.dicom}
    return {**given, "destinations": [place]}


def test_a_series_comes_back_as_contours_of_the_same_study_once(tmp_path, archive) -> None:
    given = beside(tmp_path, archive)
    archive.start(given["listen"]["port"])
    node = NodeProcess(given, tmp_path / "node.log")
    try:
        archive.receive(write_series(tmp_path / "images", shape=(4, 16, 16)))
        archive.forward()
        node.log.with_suffix(".quiet").touch()
        wait_until(lambda: archive.modalities() == ["MR", "RTSTRUCT", "SEG"])
        archive.forward()
        wait_until(lambda: "sent again, nothing new" in node.log.read_text())

        assert archive.modalities() == ["MR", "RTSTRUCT", "SEG"]
        assert node.stop() == 0
    finally:
        node.kill()


def untrained_run(folder: Path, data: Path) -> Path:
    """A run with random weights, which finds something of each class everywhere."""
    import torch

    from volseg.runs.run import Run
    from volseg.training.train import load_and_split

    torch.manual_seed(0)
    _, facts = load_and_split(tiny.config(), data, 0)
    run = Run.create(folder, tiny.config(), facts)
    run.save_best_weights(run.build_network())
    return folder


@pytest.mark.slow
def test_a_run_contours_what_orthanc_sends_and_nobody_is_told_of_whom(tmp_path, archive, data) -> None:
    options = {"engine": "torch", "device": "cpu"}
    rule = {
        "name": "mr",
        "modality": "MR",
        "runs": [str(untrained_run(tmp_path / "run", data))],
        "options": options,
    }
    given = beside(tmp_path, archive, rules=[rule], quiet_seconds=5)
    (tmp_path / "node.yaml").write_text(yaml.safe_dump(given))
    archive.start(given["listen"]["port"])
    command = [sys.executable, "-m", "volseg", "node", str(tmp_path / "node.yaml")]
    with (tmp_path / "node.log").open("wb") as log:
        node = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        names = {"PatientName": "CANARY^Zoé", "PatientID": "CANARYID", "SeriesInstanceUID": "1.2.826.77777.2"}
        images = write_series(tmp_path / "images", shape=(10, 16, 20), spacing_mm=(1.5, 1.5, 3.0), **names)
        archive.receive(images)
        wait_until((tmp_path / "spool/status.json").exists)
        archive.forward()
        wait_until(lambda: archive.modalities() == ["MR", "RTSTRUCT", "SEG"] or has_failed(tmp_path))
        assert archive.modalities() == ["MR", "RTSTRUCT", "SEG"], letters(tmp_path)
        told = subprocess.run([*command, "--status"], capture_output=True, text=True, check=False)
        assert told.returncode == 0
    finally:
        node.terminate()
        assert node.wait(PATIENCE) == 0

    kept = [path for path in (tmp_path / "spool").rglob("*") if path.is_file() and path.suffix != ".dcm"]
    assert not [
        path for path in (*kept, tmp_path / "node.log") if re.search(rb"CANARY|77777", path.read_bytes())
    ]
    stored = [dcmread(path) for path in (archive.folder / "db").rglob("*-*-*")]
    assert {str(one.PatientName) for one in stored} == {"CANARY^Zoé"}


def has_failed(tmp_path: Path) -> bool:
    return bool(list((tmp_path / "spool/dead").glob("*")))


def letters(tmp_path: Path) -> str:
    found = [*(tmp_path / "spool").glob("dead/*/log.txt"), tmp_path / "node.log"]
    return "\n".join(path.read_text() for path in found)
