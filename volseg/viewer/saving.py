"""What the page saves: `corrected/`, and the work that lies aside until it is saved."""

import itertools
import logging
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from volseg.arguments import LONGEST_REVIEWER
from volseg.data import volume_files
from volseg.data.mask_files import Mask
from volseg.data.volume import Volume
from volseg.data.volume_files import write_volume
from volseg.formatting import natural_key
from volseg.inference.correction_file import (
    CORRECTED,
    CORRECTION,
    UNSAVED,
    ClassCorrection,
    Correction,
    write_correction,
)
from volseg.metrics.mask_pair import MaskPair
from volseg.metrics.surface import APL
from volseg.system.files import PREFIX, atomic_folder, file_sha256, readable_write_errors, restore_folder
from volseg.viewer.refusal import RefusedError
from volseg.viewer.scan import ViewedScan
from volseg.viewer.work_list import work_ranges

Place = Literal["corrected", "unsaved"]
FOLDERS: dict[Place, str] = {"corrected": CORRECTED, "unsaved": UNSAVED}
KEPT = f"{UNSAVED[1:]}-"  # and a number: where work lies that was never saved
STALE = "{}: its masks were changed meanwhile by another program or tab; reload the page to see them"
log = logging.getLogger(__name__)


class SaveRequest(BaseModel):
    """What the page says of the masks that it sends: `base` is the SHA-256 of each file it started from.

    `aside` is when the work that lies aside was kept there, where the page knows of it. `seconds` is the time
    with the page in front of all sittings, `looked_at` are the ranges of slices that were accepted, by the
    record's numbers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    writer: str
    base: dict[str, str]
    aside: str = ""
    seconds: Annotated[float, Field(ge=0, le=1e8)] = 0.0
    looked_at: Annotated[tuple[tuple[int, int], ...], Field(max_length=10_000)] = ()
    reviewer: Annotated[str, Field(max_length=LONGEST_REVIEWER)] = ""


class Change(BaseModel):
    """How much of a class differs from the prediction; `slices` counts those with a changed voxel."""

    changed_voxels: int
    changed_ml: float
    added_path_mm: float
    slices: int


class Saved(BaseModel):
    """The answer: the SHA-256 of the files that count now, the time, and what was changed by class.

    `kept` are the folders of work that was never saved and that no page offers.
    """

    base: dict[str, str]
    saved: str
    classes: dict[str, Change]
    kept: list[str]


def save_masks(
    scan: ViewedScan,
    request: SaveRequest,
    bitmap: Callable[[int], bytes],
    place: Place,
    *,
    reviewer: str = "",
) -> Saved:
    """Write the masks of all classes into the folder of this place; it is there whole, or as it was before.

    `bitmap` gives the bytes of a class by its number, so that one is in memory at a time.

    Raises:
        RefusedError: masks that have changed since the page loaded them, or bytes that are no mask.
        OutputError: the folder can't be written.
    """
    if request.base.keys() != scan.bases.keys() or (place == "corrected" and request.base != scan.bases):
        raise RefusedError(409, STALE.format(scan.name))
    classes: dict[str, ClassCorrection] = {}
    with atomic_folder(scan.folder / FOLDERS[place]) as folder:
        _take_permissions(folder, scan.folder)
        for number, name in enumerate(scan.classes):
            try:
                voxels = scan.grid.from_bitmap(bitmap(number))
            except ValueError as error:
                raise RefusedError(400, f"{scan.name} {name}: {error}") from error
            one = _write_class(scan, name, scan.grid.to_native(voxels) != 0, folder)
            aside = {"base": request.base[name]} if place == "unsaved" else {}
            classes[name] = one.model_copy(update=aside)
        correction = Correction(
            scan=scan.name,
            classes=classes,
            looked_at=request.looked_at,
            to_check=len(work_ranges(scan.prediction)),
            seconds=round(request.seconds, 1),
            reviewer=request.reviewer.strip() or reviewer,
            saved=datetime.now(UTC).astimezone().isoformat(timespec="milliseconds"),
        )
        write_correction(correction, folder)
        if scan.unsaved is None or scan.unsaved.saved != request.aside:  # of another tab, or unreadable
            keep_unsaved(scan.folder)
        if place == "corrected":
            _carry_over(scan.folder / CORRECTED, folder)
    if place == "corrected":
        discard_unsaved(scan.folder)
    base = {name: one.file for name, one in classes.items()} if place == "corrected" else request.base
    return Saved(
        base=base,
        saved=correction.saved,
        classes={name: _change(one) for name, one in classes.items()},
        kept=kept_work(scan.folder),
    )


def discard_unsaved(folder: Path) -> None:
    """Throw away the work that lies aside in a scan's folder, at once or not at all."""
    aside = folder / UNSAVED
    if aside.exists():
        doomed = folder / f"{PREFIX}{os.getpid()}-{UNSAVED}"
        aside.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def keep_unsaved(folder: Path) -> Path | None:
    """Give work that lies aside, and that no page offers, a name that nobody replaces; where it lies then."""
    aside = folder / UNSAVED
    if not aside.exists():
        return None
    names = (folder / f"{KEPT}{number}" for number in itertools.count(1))
    kept = next(path for path in names if not path.exists())
    with readable_write_errors(kept):
        aside.rename(kept)
    log.warning("%s: work that was never saved lies here now; the masks have been saved without it", kept)
    return kept


def kept_work(folder: Path) -> list[str]:
    """The folders of a scan's folder in which work lies that was never saved and that no page offers."""
    found = (path for path in folder.glob(f"{KEPT}*") if path.name.removeprefix(KEPT).isdecimal())
    return sorted((str(path) for path in found), key=natural_key)


def saved_stamp(folder: Path) -> str:
    """The SHA-256 of what is saved of a scan beside its masks; "" where nothing is."""
    path = folder / CORRECTED / CORRECTION
    return file_sha256(path) if path.is_file() else ""


def is_unfinished(folder: Path) -> bool:
    """Whether a server that was killed while it saved left something in a scan's folder."""
    return any(any(folder.glob(f"{PREFIX}*-{name}*")) for name in FOLDERS.values())


def restore_scan(folder: Path) -> None:
    """Mend what a server that was killed while it saved left in a scan's folder."""
    for name in FOLDERS.values():
        restore_folder(folder / name)


def _write_class(scan: ViewedScan, name: str, mask: Mask, folder: Path) -> ClassCorrection:
    """Write a class's mask (X, Y, Z), in the form of the predicted file; returns what was changed."""
    path = scan.prediction.predicted_file(name).path
    predicted = scan.predicted(name)
    file = folder / path.name
    write_volume(_form(scan, path).with_voxels(mask.view(np.uint8)), file)
    return change_of_mask(
        mask,
        predicted,
        spacing_mm=scan.geometry.spacing_mm,
        slice_axis=scan.grid.native_slice_axis,
        numbers=_native_numbers(scan),
    ).model_copy(update={"base": file_sha256(path), "file": file_sha256(file)})


def change_of_mask(
    mask: Mask,
    predicted: Mask,
    *,
    spacing_mm: tuple[float, float, float],
    slice_axis: int,
    numbers: Sequence[int],
) -> ClassCorrection:
    """What differs between a corrected and a predicted mask, (X, Y, Z); `numbers` are those of the slices."""
    added, removed = mask & ~predicted, predicted & ~mask
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    pair = MaskPair.with_slices_last(mask, predicted, spacing_mm, slice_axis=slice_axis)
    across = tuple(axis for axis in range(3) if axis != slice_axis)
    changed = np.flatnonzero((added | removed).any(axis=across)).tolist()
    more, less = int(np.count_nonzero(added)), int(np.count_nonzero(removed))
    return ClassCorrection(
        base="",
        file="",
        added_voxels=more,
        removed_voxels=less,
        added_ml=round(more * voxel_ml, 6),
        removed_ml=round(less * voxel_ml, 6),
        added_path_mm=round(APL()(pair), 3) if mask.any() else 0.0,
        slices=tuple(sorted(numbers[index] for index in changed)),
    )


def _form(scan: ViewedScan, path: Path) -> Volume:
    """The grid and the header of a predicted file; the scan's, where a program saved it in another form."""
    header = volume_files.read_header(path)
    predicted = Volume(scan.geometry.voxels, header.affine, header.place)
    fits = header.shape == scan.geometry.voxels.shape and scan.geometry.same_grid(predicted)
    return predicted if fits else scan.geometry


def _native_numbers(scan: ViewedScan) -> list[int]:
    """The numbers of slices along the native axis."""
    pairs = sorted(zip(scan.grid.native_slices, scan.slice_numbers, strict=True))
    return [number for _, number in pairs]


def _change(one: ClassCorrection) -> Change:
    return Change(
        changed_voxels=one.changed_voxels,
        changed_ml=round(one.changed_ml, 6),
        added_path_mm=one.added_path_mm,
        slices=len(one.slices),
    )


def _carry_over(old: Path, new: Path) -> None:
    """Take into the new folder whatever else people have put into the old one."""
    for path in sorted(old.iterdir()) if old.is_dir() else ():
        if (new / path.name).exists():
            continue
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.copytree(path, new / path.name, symlinks=True, copy_function=_link_or_copy)
            else:
                _link_or_copy(path, new / path.name)
        except OSError as error:
            raise RefusedError(507, f"{path}: can't be kept there ({error}); move it away") from error


def _link_or_copy(old: str | Path, new: str | Path) -> None:
    """Give a file a second name, so that a program that has it open goes on; a copy where drives can't."""
    try:
        os.link(old, new, follow_symlinks=False)
    except (OSError, NotImplementedError):
        shutil.copy2(old, new, follow_symlinks=False)


def _take_permissions(folder: Path, like: Path) -> None:
    """Let a new folder be read by whom the scan's folder may be read by, where the drive has permissions."""
    with suppress(OSError):
        folder.chmod(like.stat().st_mode & 0o777)
