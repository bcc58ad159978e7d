"""One run of the viewer: the scans, who writes them, and what is asked of them."""

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from volseg.data.mask_files import Mask
from volseg.data.volume import Array
from volseg.errors import UserError
from volseg.system.locks import folder_lock
from volseg.viewer import scan_facts
from volseg.viewer.grey_values import grey_window, storable_grey
from volseg.viewer.mask_edits import read_edit
from volseg.viewer.pictures import slice_png
from volseg.viewer.refusal import RefusedError
from volseg.viewer.saving import (
    STALE,
    Place,
    Saved,
    SaveRequest,
    discard_unsaved,
    is_unfinished,
    kept_work,
    restore_scan,
    save_masks,
    saved_stamp,
)
from volseg.viewer.scan import ViewedScan
from volseg.viewer.scan_list import ScanList
from volseg.viewer.writers import BUSY, Writers

KEPT = 100_000_000  # bytes of an image that is kept for the next request


class WriterKey(BaseModel):
    """The key of the tab that writes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    writer: str


class Discard(WriterKey):
    """The key, and when the work that is thrown away was kept aside."""

    aside: str = ""


@dataclass(frozen=True)
class GreyImage:
    """An image on the native grid in a type for viewers, and the values that are black and white at first."""

    voxels: npt.NDArray[np.int16] | npt.NDArray[np.float32]
    window: tuple[float, float]


@dataclass
class Session:
    """What the server does, without anything of HTTP.

    `read_only` says why nothing may be changed, "" where it may. Errors are UserErrors, with a status where
    they are Refusals.
    """

    scans: ScanList
    read_only: str = ""
    reviewer: str = ""
    single: bool = False
    writers: Writers = field(default_factory=Writers)
    _image: tuple[object, GreyImage] | None = None
    _stamps: dict[str, str] = field(default_factory=dict)  # of what was saved, as each tab knows it
    _saving: threading.Lock = field(default_factory=threading.Lock)
    _reading: threading.Lock = field(default_factory=threading.Lock)

    @property
    def only_scan(self) -> str:
        """The single scan that was asked for, or ""."""
        return self.scans.done[0] if self.single and len(self.scans.done) == 1 else ""

    def restore_all(self) -> None:
        """Mend what a server that was killed while it saved left, where nobody else writes."""
        for name in () if self.read_only else self.scans.done:
            folder = self.scans.folder / name
            if is_unfinished(folder):
                with suppress(UserError), folder_lock(folder, busy=BUSY):
                    restore_scan(folder)

    def warm_up(self) -> None:
        """Load what the first page will ask for: libraries, and the image of the first scan."""
        with suppress(UserError):
            for name in self.scans.done[:1]:
                self.scan_facts(name)

    def list_facts(self) -> dict[str, Any]:
        """What is known of all scans."""
        return scan_facts.list_facts(self.scans, read_only=bool(self.read_only))

    def scan_facts(self, name: str) -> dict[str, Any]:
        """What is known of a scan."""
        scan = self.scans.scan(name)
        image = self._grey(scan)
        window = image if isinstance(image, str) else image.window
        reason = self._why_read_only(scan)
        correction = scan.prediction.correction
        return {
            **scan_facts.scan_facts(self.scans, scan, window),
            "reviewer": self.reviewer,
            "earlier_reviewer": correction.reviewer if correction else "",
            "read_only": bool(reason),
            "read_only_reason": reason,
            "kept": kept_work(scan.folder),
        }

    def image_file(self, name: str) -> bytes:
        """The image as NIfTI of the display grid."""
        scan = self.scans.scan(name)
        image = self._grey(scan)
        if isinstance(image, str):
            raise RefusedError(404, image)
        return scan.grid.encode(image.voxels)

    def mask_file(self, name: str, kind: str, class_name: str) -> bytes:
        """The voxels of a class as NIfTI of the display grid."""
        scan = self.scans.scan(name)
        read = scan.readers.get(kind)
        if read is None or class_name not in scan.classes:
            raise RefusedError(404, "nothing here")
        return scan.grid.encode(read(class_name).astype(np.uint8, copy=False))

    def picture(self, name: str, index: int, masks: bool) -> bytes:
        """A slice of the display grid as PNG, with outlines of its masks or without."""
        scan = self.scans.scan(name)
        if index >= scan.grid.shape[2]:
            raise RefusedError(404, f"{name}: has slices 0 to {scan.grid.shape[2] - 1}")
        grey = self._grey(scan)
        window = (0.0, 1.0) if isinstance(grey, str) else grey.window
        shown = {
            place: _slice(scan, scan.mask(one), index)
            for one, place in self.scans.colour_places(scan.prediction).items()
            if masks and one in scan.classes
        }
        image: Array = (
            np.zeros(scan.grid.shape[:2], np.float32)
            if isinstance(grey, str)
            else _slice(scan, grey.voxels, index)
        )
        text = f"{name}, slice {scan.slice_numbers[index]}"
        return slice_png(image, shown, window=window, text=text, spacing_mm=scan.grid.spacing_mm)

    def enter(self, name: str) -> str:
        """The key of a new tab that writes a scan."""
        scan = self.scan_to_write(name)
        key = self.writers.enter(name, scan.folder)
        restore_scan(scan.folder)
        self._stamps[key] = saved_stamp(scan.folder)
        return key

    def renew(self, name: str, key: str) -> None:
        """Note that a tab that writes is still there."""
        self.writers.renew(name, self.scans.prediction(name).folder, key)

    def leave(self, name: str, key: str) -> None:
        """Note that a tab that writes is closed."""
        self.writers.leave(name, key)

    def scan_to_write(self, name: str) -> ViewedScan:
        """A scan that may be changed."""
        scan = self.scans.scan(name)
        if reason := self._why_read_only(scan):
            raise RefusedError(403, reason)
        return scan

    def save(self, name: str, request: SaveRequest, bitmap: Callable[[int], bytes], place: Place) -> Saved:
        """Save masks; one save at a time."""
        with self._saving:
            scan = self.scan_to_write(name)
            self.writers.renew(name, scan.folder, request.writer)
            if place == "corrected" and self._stamps.get(request.writer) != saved_stamp(scan.folder):
                raise RefusedError(409, STALE.format(name))
            saved = save_masks(scan, request, bitmap, place, reviewer=self.reviewer)
            self._stamps[request.writer] = saved_stamp(scan.folder)
            return saved

    def discard(self, name: str, request: Discard) -> None:
        """Throw away what lies aside; what another tab has kept there since stays."""
        with self._saving:
            scan = self.scan_to_write(name)
            self.writers.renew(name, scan.folder, request.writer)
            if scan.unsaved and scan.unsaved.saved == request.aside:
                discard_unsaved(scan.folder)

    def edit(self, scan: ViewedScan, operation: str, settings: Mapping[str, str], body: bytes) -> bytes:
        """A page's mask after an operation on it."""
        class_name = settings.get("class", "")
        if class_name not in scan.classes:
            raise RefusedError(
                400, f"{scan.name}: has no class {class_name!r}; it has {', '.join(scan.classes)}"
            )
        edit = read_edit(operation, {key: value for key, value in settings.items() if key != "class"})
        try:
            mask: Mask = scan.grid.from_bitmap(body) != 0
        except ValueError as error:
            raise RefusedError(400, f"{scan.name} {class_name}: the mask {error}") from error
        edited = edit(mask, scan.grid.spacing_mm, lambda: scan.grid.to_display(scan.probability(class_name)))
        return scan.grid.bitmap(edited)

    def _why_read_only(self, scan: ViewedScan) -> str:
        if self.read_only:
            return self.read_only
        if os.access(scan.folder, os.W_OK | os.X_OK):
            return ""
        if hasattr(os, "statvfs") and os.statvfs(scan.folder).f_flag & os.ST_RDONLY:
            return f"{scan.folder}: lies on a drive that is mounted read-only"
        return f"{scan.folder}: may not be written by this user"

    def _grey(self, scan: ViewedScan) -> GreyImage | str:
        """The image, or a sentence why there is none; the last one is kept."""
        with self._reading:
            return self._read_grey(scan)

    def _read_grey(self, scan: ViewedScan) -> GreyImage | str:
        source, kept = scan.image_source, self._image
        stamp = source.stamp
        if kept and kept[0] == stamp:
            return kept[1]
        try:
            voxels = source.read(scan.geometry).voxels
        except UserError as error:
            return str(error)
        image = GreyImage(storable_grey(voxels), grey_window(voxels))
        if image.voxels.nbytes <= KEPT:
            self._image = stamp, image
        return image


def _slice(scan: ViewedScan, voxels: Array, index: int) -> Array:
    return scan.grid.to_display(voxels)[..., index]
