"""Raw scans and raw datasets as `prepare` reads them, whatever their layout."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from volseg.data.layouts.findings import Finding
from volseg.data.volume import Volume

Part = Literal["train", "test"]
Mask = npt.NDArray[np.bool_]
Masks = Mapping[str, Mask]
"""A bool mask (X, Y, Z) for each class; one may be made only when it is asked for."""


@dataclass(frozen=True)
class RawScan(ABC):
    """A scan as it lies on disk: names and texts are read, pixels are not.

    `case` is the patient, `day` the day of treatment or 0; `name` is unique in the dataset. `numbers` are the
    source numbers of the slices along Z, empty where the scan did not come from slices.
    """

    case: str
    day: int
    name: str
    part: Part
    numbers: tuple[int, ...] = field(default=(), kw_only=True)

    @property
    @abstractmethod
    def source(self) -> Path:
        """The file or folder that messages name."""

    @property
    @abstractmethod
    def files(self) -> tuple[Path, ...]:
        """All files that the scan is read from."""

    @property
    def is_private(self) -> bool:
        """Whether what is written of it is for its user alone."""
        return False

    @property
    def stamp(self) -> tuple[str, ...]:
        """All that the prepared scan depends on beside the code: files with size and time, rows, settings."""
        return file_stamps(self.files, self.source.parent)

    @abstractmethod
    def channels(self) -> Sequence[Volume]:
        """The image, a volume a channel, all on one grid.

        Raises:
            UserError: damaged, missing or inconsistent files; all of them.
        """

    @abstractmethod
    def labels(self, classes: Sequence[str], image: Volume | None) -> Masks | None:
        """Masks (X, Y, Z) of the classes on the grid of `image` (None: unreadable); None without labels.

        Raises:
            UserError: labels that are damaged or do not fit the image; all faults.
        """

    def remarks(self, masks: Masks | None = None) -> Sequence[Finding]:
        """Findings on the scan's files and on how these masks were read, beside those on their content."""
        del masks
        return ()


def file_stamps(paths: Sequence[Path], root: Path) -> tuple[str, ...]:
    """Name, size and time of files; of an unreadable file the error, as its reader tells more."""
    names = ((path.relative_to(root) if path.is_relative_to(root) else path).as_posix() for path in paths)
    return tuple(f"{name} {_size_and_time(path)}" for name, path in zip(names, paths, strict=True))


def _size_and_time(path: Path) -> str:
    try:
        status = path.stat()
    except OSError as error:
        return str(error.strerror)
    return f"{status.st_size} {status.st_mtime_ns}"


class UnusableScan(NamedTuple):
    """What names tell of a scan that can't be used: its case, its part, and the numbers of its slices."""

    case: str
    part: Part
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True)
class RawDataset:
    """A dataset's classes and channels, its usable scans, and the findings of names and texts.

    Classes that are `exclusive` never overlap; `bad_scans` have labels that are known to be bad;
    `unusable` are the scans, by name, whose errors are among the findings. `name` stands for the source's
    own, where that may tell a patient. The scans of a phantom are `synthetic`.
    """

    classes: tuple[str, ...]
    channels: tuple[str, ...]
    exclusive: bool
    scans: tuple[RawScan, ...]
    findings: tuple[Finding, ...] = ()
    bad_scans: tuple[str, ...] = ()
    unusable: Mapping[str, UnusableScan] = field(default_factory=dict)
    name: str = ""
    synthetic: bool = False


def duplicate_names(scans: Sequence[RawScan]) -> Iterator[str]:
    """A line for each name that several scans have."""
    for name, count in Counter(scan.name for scan in scans).items():
        if count > 1:
            places = " and ".join(str(scan.source) for scan in scans if scan.name == name)
            yield f"{name}: is in {places}; keep one of them"
