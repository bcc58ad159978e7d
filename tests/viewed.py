"""The viewer's server as a page meets it: asked directly, or in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import nibabel
import numpy as np
import pytest

from tests import documented, predicted, tiny
from volseg.data.dataset import Dataset
from volseg.data.scan_names import case_and_day
from volseg.data.volume import Volume
from volseg.data.volume_files import write_volume
from volseg.system.files import file_sha256

PORT, TOKEN = 4321, "token"
STRAIGHT = np.eye(4)
OBLIQUE = np.array([[1.4, 0.3, -0.2, -50], [-0.25, 1.3, 0.4, 20], [0.3, -0.35, 2.8, 7], [0, 0, 0, 1.0]])
"""Nearly to the right, the front and the head, about 15 degrees off each."""


def predictions(folder: Path, dataset: Dataset, *scans: str, **told) -> Path:
    """Predictions of scans of `tiny`: their truth, with a confidence and slices to check."""
    for number, scan in enumerate(scans):
        confidence = {
            name: {
                "dice": round(0.6 + 0.1 * number + 0.05 * place, 3),
                "calibrated": True,
                "volume_ml": 1.5,
                "flags": [{"sign": "cut", "text": "touches the first slice"}],
                "slices": [[3 + place, 4 + place], [7, 7]],
            }
            for place, name in enumerate(tiny.CLASSES)
        }
        sample = dataset.select_samples(scan)[0]
        facts = {"confidence": confidence, "check": [[3, 4], [9, 9]], "case": sample.case,
                 "image_hash": sample.image_hash}  # fmt: skip
        predicted.write(folder, dataset, scan, **{**facts, **told})
    return folder


def prediction_of(folder: Path, scan: str, masks: dict[str, np.ndarray], affine, image=None) -> Path:
    """A prediction outside any dataset: masks (X, Y, Z) on any grid, and an image that the record names."""
    here = folder / scan
    source = []
    if image is not None:
        path = folder.with_name(f"{folder.name}_images") / f"{scan}.nii.gz"
        write_volume(Volume(image, affine), path)
        source = [str(path.absolute())]
    for name, mask in masks.items():
        write_volume(Volume(mask.astype(np.uint8), affine), here / f"{name}.nii.gz")
    files = {path.name: file_sha256(path) for path in here.glob("*.nii.gz")}
    case, day = case_and_day(scan)
    predicted.record(folder, scan, classes=list(masks), files=files, source=source, case=case, day=day)
    return folder


class Viewer:
    """A page's way to a server: `ask` it, read volumes, write masks."""

    def __init__(self, client, base: str) -> None:
        self.client, self.base, self.key, self.aside = client, base, "", ""

    def ask(self, method: str, path: str, **more):
        return self.client.request(method, f"{self.base}/{path}", **more)

    def json(self, path: str) -> dict:
        answer = self.ask("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def facts(self, scan: str) -> dict:
        return self.json(f"api/scans/{scan}")

    def volume(self, scan: str, name: str) -> nibabel.Nifti1Image:
        answer = self.ask("GET", f"files/{scan}/{name}.nii")
        assert answer.status_code == 200, answer.text
        return nibabel.Nifti1Image.from_bytes(answer.content)

    def voxels(self, scan: str, name: str) -> np.ndarray:
        return np.asarray(self.volume(scan, name).dataobj)

    def masks(self, scan: str) -> dict[str, np.ndarray]:
        return {one["name"]: self.voxels(scan, f"mask/{one['name']}") for one in self.facts(scan)["classes"]}

    def enter(self, scan: str) -> str:
        answer = self.ask("POST", f"api/scans/{scan}/writer", content=b"{}")
        assert answer.status_code == 200, answer.text
        self.key = answer.json()["writer"]
        return self.key

    def save(self, scan: str, masks, place: str = "corrected", **more):
        """Save masks of the display grid; `more` replaces what the page says of them."""
        facts = self.facts(scan)
        told = {"writer": self.key, "base": {one["name"]: one["base"] for one in facts["classes"]},
                "aside": self.aside, "seconds": 61.5, "looked_at": [[3, 4]], "reviewer": "",
                **more}  # fmt: skip
        answer = self.ask("PUT", f"api/scans/{scan}/{place}", content=body(told, masks))
        if answer.status_code == 200:
            self.aside = answer.json()["saved"] if place == "unsaved" else ""
        return answer

    def edit(self, scan: str, operation: str, mask: np.ndarray, **settings):
        query = {"class": next(iter(self.facts(scan)["classes"]))["name"], **settings}
        content = mask.astype(np.uint8).tobytes(order="F")
        return self.ask("POST", f"api/scans/{scan}/edit/{operation}", params=query, content=content)


def body(told: dict, masks) -> bytes:
    bitmaps = [np.asarray(mask, np.uint8).tobytes(order="F") for mask in masks]
    return b"".join((json.dumps(told).encode(), b"\n", *bitmaps))


def open_viewer(folder: Path, *, data: Path | None = None, scan: str | None = None, **told) -> Viewer:
    """The app behind its door, asked without a network."""
    pytest.importorskip("starlette", reason="the extra `view` is not installed")
    pytest.importorskip("httpx", reason="httpx is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it asks for a successor of httpx that few have
        from starlette.testclient import TestClient

    from volseg.viewer.app import build_app
    from volseg.viewer.guard import Guard
    from volseg.viewer.scan_list import ScanList
    from volseg.viewer.session import Session

    scans = ScanList.load(folder, scan, data)
    session = Session(scans, **{"single": scan is not None and len(scans.names) == 1, **told})
    app = Guard(build_app(session), TOKEN, PORT)
    client = TestClient(app, base_url=f"http://127.0.0.1:{PORT}", follow_redirects=False)
    viewer = Viewer(client, f"/{TOKEN}")
    viewer.session = session
    return viewer


class Server:
    """`volseg view` in a process of its own; `address` is what it printed."""

    def __init__(self, *words: str, cwd: Path | None = None) -> None:
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115  closed at the end of the server
        self.process = subprocess.Popen(
            [sys.executable, "-m", "volseg", "view", *words, "--no-browser"],
            stdout=subprocess.PIPE, stderr=self.errors, text=True, cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(documented.ROOT), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        self.address = self.process.stdout.readline().strip()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(timeout=30)
        self.process.stdout.close()
        self.errors.close()

    def viewer(self) -> Viewer:
        import httpx

        return Viewer(httpx.Client(base_url=self.address, timeout=60), self.address.rstrip("/"))

    def stop(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=60)

    @property
    def said(self) -> str:
        self.errors.seek(0)
        return self.errors.read().decode()

    @property
    def peak_mb(self) -> float:
        """The most memory that it had so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
