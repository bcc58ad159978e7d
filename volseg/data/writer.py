"""One raw scan onto disk as volumes on its native grid, and what must not stay there."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from volseg import atomic
from volseg.data.dataset import FILE, Sample
from volseg.data.layouts import Failure
from volseg.data.scan import Scan
from volseg.data.volume import Array, Volume
from volseg.errors import OutputError, UserError


def died(scan: Scan) -> Failure:
    """The failure of a scan whose worker died."""
    reason = "the process that read it was killed; give it more memory or pass --workers 1"
    return Failure(scan.name, f"{scan.folder}: {reason}")


def check(scan: Scan, *, classes: Sequence[str]) -> Failure | None:
    """Read a scan and forget it."""
    read = _read(scan, classes)
    return read if isinstance(read, Failure) else None


def write(
    scan: Scan, *, classes: Sequence[str], out: Path, excluded: frozenset[str]
) -> Sample | Failure:
    """Write the volumes of one scan.

    Raises:
        OutputError: a file can't be written.
    """
    read = _read(scan, classes)
    if isinstance(read, Failure):
        return read
    image, labels = read
    _withdraw(out / FILE)
    files = {organ: f"labels/{scan.name}/{organ}.nii.gz" for organ in classes}
    path = f"images/{scan.name}.nii.gz"
    image.write(out / path)
    for organ, mask in zip(classes, () if labels is None else labels, strict=labels is not None):
        image.with_voxels(mask.view(np.uint8)).write(out / files[organ])
    return Sample(
        case=scan.case,
        day=scan.day,
        name=scan.name,
        part=scan.part,
        source=scan.folder.as_posix(),
        images=(path,),
        labels=None if labels is None else files,
        shape=scan.shape,
        spacing_mm=scan.spacing_mm,
        slices=scan.numbers,
        excluded=scan.name in excluded,
    )


def _read(scan: Scan, classes: Sequence[str]) -> tuple[Volume, Array | None] | Failure:
    """The image and the masks of a scan, or everything that is wrong with either."""
    problems = []
    try:
        image = scan.image()
    except UserError as error:
        problems.append(str(error))
    try:
        labels = None if scan.masks is None else scan.labels(classes)
    except UserError as error:
        problems.append(str(error))
    return Failure(scan.name, "\n".join(problems)) if problems else (image, labels)


def _withdraw(path: Path) -> None:
    """Remove the index of an earlier run before its files change.

    Raises:
        OutputError: it can't be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        reason = f"{error.strerror}; choose another output folder"
        raise OutputError(f"{path}: can't be replaced: {reason}") from error


@contextmanager
def tidy(out: Path) -> Iterator[None]:
    """Remove half-written files: of an earlier run that was killed, and of workers that died."""
    try:
        _sweep(out)
        yield
    finally:
        _sweep(out)


def _sweep(out: Path) -> None:
    for folder in ("", "images/", "labels/*/"):
        for path in out.glob(f"{folder}{atomic.PREFIX}*"):
            path.unlink(missing_ok=True)
