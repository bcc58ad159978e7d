"""What `prepare` asks of a raw scan, whatever the layout it comes from."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from volseg.data.layouts.findings import Finding
from volseg.data.volume import Volume

Part = Literal["train", "test"]
Mask = npt.NDArray[np.bool_]
Masks = Mapping[str, Mask]
"""A bool mask (X, Y, Z) for each class; one may be made only when it is asked for."""


class RawScan(Protocol):
    """One scan as it lies on disk: names and texts have been read, pixels not yet."""

    @property
    def case(self) -> str:
        """The patient."""

    @property
    def day(self) -> int:
        """The day of treatment, or 0."""

    @property
    def name(self) -> str:
        """The scan's name, the only one in its dataset."""

    @property
    def part(self) -> Part:
        """Whether it belongs to the training or the test part."""

    @property
    def source(self) -> Path:
        """Where it lies, for messages."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All files it is read from."""

    @property
    def numbers(self) -> tuple[int, ...]:
        """The source number of each slice along Z; empty where it did not come from slices."""

    @property
    def stamp(self) -> tuple[str, ...]:
        """What its result depends on beside the code, as texts: files (size and time), rows, settings."""

    def channels(self) -> Sequence[Volume]:
        """The image, a volume a channel, all on one grid.

        Raises:
            UserError: damaged, missing or inconsistent files; all of them.
        """

    def labels(self, classes: Sequence[str], image: Volume | None) -> Masks | None:
        """The truth on the grid of the first channel (`image`; None: unreadable), or None without any.

        Raises:
            UserError: truth that is damaged or does not fit the image.
        """

    def remarks(self) -> Sequence[Finding]:
        """What there is to say of its files, beside what is in them."""


def file_stamps(paths: Sequence[Path], root: Path) -> tuple[str, ...]:
    """Name, size and time of files as texts; a file that can't be read is told later, by its reader."""
    return tuple(f"{_relative_path(path, root)} {_size_and_time(path)}" for path in paths)


def _relative_path(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _size_and_time(path: Path) -> str:
    try:
        facts = path.stat()
    except OSError as error:
        return str(error.strerror)
    return f"{facts.st_size} {facts.st_mtime_ns}"


@dataclass(frozen=True)
class RawDataset:
    """The facts of a dataset, its scans to use, and all that names and texts tell about it.

    `exclusive` says that classes never overlap; `bad_scans` are those with labels known to be bad.
    """

    classes: tuple[str, ...]
    channels: tuple[str, ...]
    exclusive: bool
    scans: tuple[RawScan, ...]
    findings: tuple[Finding, ...] = ()
    bad_scans: tuple[str, ...] = ()


def duplicate_names(scans: Sequence[RawScan]) -> Iterator[str]:
    """A line for each name that several scans have."""
    for name, count in Counter(scan.name for scan in scans).items():
        if count > 1:
            places = " and ".join(str(scan.source) for scan in scans if scan.name == name)
            yield f"{name}: is in {places}; keep one of them"
