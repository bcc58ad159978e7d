"""The folder of corrected masks within that of a predicted scan: `corrected/`, with `correction.json`.

It holds every class of the scan, changed or not. What was drawn and not yet saved lies in `.unsaved/` in the
same form, which only the viewer reads.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, NonNegativeInt

from volseg import __version__
from volseg.errors import UserError
from volseg.schema import ClassName, ScanName
from volseg.system.files import file_sha256
from volseg.system.json_files import read_json, write_json

CORRECTED, UNSAVED, CORRECTION = "corrected", ".unsaved", "correction.json"


class _Part(BaseModel):
    """A frozen part of a correction; keys of later versions are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class ClassCorrection(_Part):
    """What was changed in the mask of one class, against the predicted one.

    `base` is the SHA-256 of the predicted file, `file` that of the corrected one. `added_path_mm` is the
    length of contour that had to be drawn (the APL of the correction against the prediction). `slices` are
    the slices with a changed voxel, by the numbers that `record.json` uses.
    """

    base: str
    file: str
    added_voxels: NonNegativeInt = 0
    removed_voxels: NonNegativeInt = 0
    added_ml: NonNegativeFloat = 0.0
    removed_ml: NonNegativeFloat = 0.0
    added_path_mm: NonNegativeFloat = 0.0
    slices: tuple[int, ...] = ()

    @property
    def changed_voxels(self) -> int:
        """How many voxels differ from the prediction."""
        return self.added_voxels + self.removed_voxels

    @property
    def changed_ml(self) -> float:
        """The volume of the voxels that differ from the prediction."""
        return self.added_ml + self.removed_ml


class Correction(_Part):
    """The content of `correction.json`: a scan whose masks a person has looked at and saved.

    `classes` has every class of the scan, those without a change too. `looked_at` are the ranges of slices
    that were accepted, of the `to_check` that were to be looked at. `seconds` is the time that was spent on
    the scan with the page in front, of all sittings; `saved` is the time of saving, ISO 8601 with a zone.
    """

    scan: ScanName
    classes: dict[ClassName, ClassCorrection]
    looked_at: tuple[tuple[int, int], ...] = ()
    to_check: NonNegativeInt = 0
    seconds: NonNegativeFloat = 0.0
    reviewer: str = ""
    saved: str = ""
    version: str = __version__

    @property
    def changed_classes(self) -> tuple[str, ...]:
        """The classes whose masks differ from the predicted ones."""
        return tuple(name for name, one in self.classes.items() if one.changed_voxels)

    def changed_later(self, folder: Path) -> tuple[str, ...]:
        """The classes whose corrected files, in a predicted scan's folder, are not as they were saved."""
        return tuple(
            name for name, one in self.classes.items() if has_changed(corrected_file(folder, name), one.file)
        )

    def outdated(self, folder: Path) -> tuple[str, ...]:
        """The classes that were corrected from another file than the predicted one that lies there now."""
        return tuple(
            name for name, one in self.classes.items() if has_changed(folder / f"{name}.nii.gz", one.base)
        )


def corrected_folder(folder: Path) -> Path:
    """The folder of corrected masks of a predicted scan's folder."""
    return folder / CORRECTED


def corrected_file(folder: Path, name: str) -> Path:
    """The corrected mask of a class of a predicted scan's folder."""
    return folder / CORRECTED / f"{name}.nii.gz"


def has_changed(path: Path, sha256: str) -> bool:
    """Whether a file is there and has another SHA-256."""
    try:
        return path.is_file() and file_sha256(path) != sha256
    except OSError as error:
        raise UserError(f"{path}: can't be read: {error.strerror}") from error


def read_correction(folder: Path) -> Correction | None:
    """The correction of a predicted scan's folder; None where nobody has saved one.

    Raises:
        UserError: `correction.json` is damaged or another scan's, or masks lie there without one.
    """
    inner = corrected_folder(folder)
    path = inner / CORRECTION
    if path.is_file():
        correction = read_json(path, Correction)
        if correction.scan != folder.name:
            raise UserError(f"{path}: is the correction of {correction.scan}; expected one of {folder.name}")
        return correction
    if inner.is_dir() and any(inner.glob("*.nii.gz")):
        raise UserError(
            f"{inner}: masks without {CORRECTION}, so `volseg view` did not save them; move them away, or "
            "save each over the predicted mask"
        )
    return None


def correction_problem(folder: Path) -> str:
    """What is wrong with the correction of a predicted scan's folder, or ''."""
    try:
        read_correction(folder)
    except UserError as error:
        return str(error)
    return ""


def write_correction(correction: Correction, folder: Path) -> None:
    """Write the `correction.json` of a folder of corrected masks (`corrected_folder`)."""
    write_json(folder / CORRECTION, correction)
