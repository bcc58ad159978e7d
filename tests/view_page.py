"""The page of `volseg view` in a headless Chromium, as a person uses it: by keys and the mouse."""

import base64
import io
import json
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image

from tests import tiny, viewed
from tests.browser import Browser
from volseg.data.dataset import Dataset
from volseg.data.volume import Volume
from volseg.data.volume_files import write_volume
from volseg.system.files import file_sha256

READY = "document.body.dataset.ready !== undefined"
PANE = "volseg.planes.panes.find((pane) => pane.axis === {axis})"
HARMLESS = "GPU stall due to ReadPixels"
"""Chromium says so of any page that draws by WebGL without a graphics card."""


class ViewPage:
    """A scan's page. `axis` is the one across a plane: 2 is the axial one."""

    def __init__(self, tab: Browser, address: str, scan: str, **screen) -> None:
        self.tab, self.scan, self.address = tab, scan, f"{address}scans/{scan}/"
        self.open(**screen)

    def open(self, **screen) -> None:
        """Load the page and wait until it can be edited, or says why not."""
        self.tab.open(self.address, **screen)
        self.tab.until(f"{READY} && (!window.volseg || volseg.model.readOnly !== 'loading')", 120)
        self.settle()

    def settle(self) -> None:
        """Wait until what has changed is shown."""
        self.tab.js("new Promise((shown) => requestAnimationFrame(() => requestAnimationFrame(shown)))")

    def press(self, key: str, *modifiers: str, times: int = 1) -> None:
        self.tab.press(key, *modifiers, times=times)
        self.settle()

    def js(self, code: str) -> object:
        return self.tab.js(code)

    def text(self, selector: str) -> str:
        return str(self.js(f"document.querySelector({selector!r}).textContent"))

    def wait_idle(self) -> None:
        """Wait until nothing is being computed."""
        self.tab.until("!volseg.model.busy", 30)
        self.settle()

    def state(self) -> str:
        return str(self.js("document.getElementById('state').dataset.state"))

    def go_to(self, *voxel: int) -> None:
        """Move the cursor to a voxel of the display grid."""
        self.js(f"volseg.model.moveTo({list(map(int, voxel))})")
        self.settle()

    def pixel(self, *place: float, axis: int = 2) -> tuple[float, float]:
        """Where on the screen a place of the display grid is; the edges of voxels are at whole numbers."""
        code = f"""(() => {{ const box = document.getElementById('overlay').getBoundingClientRect();
          const at = volseg.planes.pixelOf({PANE.format(axis=axis)}, {list(map(float, place))});
          return [Math.round(box.left + at[0]), Math.round(box.top + at[1])]; }})()"""
        x, y = self.js(code)
        return x, y

    def place(self, pixel: tuple[float, float], axis: int = 2) -> np.ndarray:
        """The place of the display grid that the page finds at a pixel, at the cursor's slice."""
        code = f"""(() => {{ const box = document.getElementById('overlay').getBoundingClientRect();
          return volseg.planes.placeOf({PANE.format(axis=axis)}, {pixel[0]} - box.left, {pixel[1]} - box.top,
                                       volseg.model.cursor); }})()"""
        return np.array(self.js(code))

    def stroke(self, *places: tuple[float, float, float], axis: int = 2, **told) -> list[np.ndarray]:
        """Drag the mouse over places of a plane; gives the places of the pixels that it went over."""
        pixels = [self.pixel(*place, axis=axis) for place in places]
        self.tab.drag(*pixels, **told)
        self.settle()
        return [self.place(pixel, axis) for pixel in pixels]

    def save(self) -> None:
        self.press("s", "ctrl")
        self.tab.until(
            "!volseg.session.saving && document.getElementById('state').dataset.state !== 'saving'", 60
        )
        self.settle()

    def screen(self) -> np.ndarray:
        """What is seen, (height, width, 3)."""
        data = base64.b64decode(self.tab.ask("Page.captureScreenshot", format="png")["data"])
        return np.array(Image.open(io.BytesIO(data)).convert("RGB"))

    def mask(self, number: int = 0) -> np.ndarray:
        """The mask of a class in the page, on the display grid, bool."""
        shape = self.js("volseg.model.shape")
        code = f"""(() => {{ const voxels = volseg.model.masks.voxels[{number}]; const places = [];
          for (let i = voxels.indexOf(1); i >= 0; i = voxels.indexOf(1, i + 1)) places.push(i);
          return places; }})()"""
        flat = np.zeros(int(np.prod(shape)), bool)
        flat[self.js(code)] = True
        return flat.reshape(shape, order="F")

    def problems(self) -> list[str]:
        """What the browser complained of, and requests to other places than this machine."""
        said = [str(event["params"]) for event in self.tab.said]
        away = [one for one in self.tab.requests if not one.startswith("http://127.0.0.1:")]
        return [one for one in said if HARMLESS not in one] + away


def with_probability(out: Path, data: Path, *scans: str) -> Path:
    """Predictions of scans of `tiny`; the stomach's probability is .4 in a margin around its mask."""
    dataset = Dataset.load(data)
    viewed.predictions(out, dataset, *scans)
    for scan in scans:
        mask = dataset.labels(dataset.select_samples(scan)[0])[1].astype(bool)
        wide = mask | np.roll(mask, 1, axis=0)
        levels = np.where(mask, 0.8, np.where(wide, 0.4, 0)).astype(np.float32)
        path = out / scan / "stomach_probability.nii.gz"
        write_volume(Volume(levels, tiny.AFFINE), path)
        record = json.loads((out / scan / "record.json").read_text())
        record["files"][path.name] = file_sha256(path)
        (out / scan / "record.json").write_text(json.dumps(record))
    return out


def saved_mask(folder: Path, scan: str, name: str) -> np.ndarray:
    """A corrected mask as it lies on the disk."""
    return np.asarray(nibabel.load(folder / scan / "corrected" / f"{name}.nii.gz").dataobj).astype(bool)


def turned(voxels: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Voxels on the display grid, by nibabel: axes to the right, the front and the head."""
    return np.asarray(
        nibabel.as_closest_canonical(nibabel.Nifti1Image(voxels.astype(np.uint8), affine)).dataobj
    )


def brushed(shape, spacing_mm, places: list[np.ndarray], *, radius: float, ball: bool = False) -> np.ndarray:
    """What a stroke over places must cover, by the distance of each voxel's centre to its line."""
    centres = np.moveaxis(np.indices(shape), 0, -1) + 0.5
    covered = np.zeros(shape, bool)
    for start, end in zip(places, places[1:] or places, strict=False):
        line = (end - start) * spacing_mm
        from_start = (centres - start) * spacing_mm
        along = np.clip(from_start @ line / max(line @ line, 1e-12), 0, 1)
        covered |= np.linalg.norm(from_start - along[..., None] * line, axis=-1) <= radius
        for share in np.linspace(0, 1, 2000):  # and the voxels that the line runs through
            covered[tuple(np.floor(start + share * (end - start)).astype(int))] = True
    if not ball:
        in_slice = np.zeros(shape, bool)
        in_slice[..., int(places[0][2])] = True
        covered &= in_slice
    return covered
