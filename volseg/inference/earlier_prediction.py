"""What lies in a scan's folder before it is predicted: an earlier prediction, and what people did to it.

A file that volseg did not write, or that was changed since, is somebody's work and is not replaced; so is a
folder in which `volseg view` keeps corrected masks.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from volseg.data import volume_files
from volseg.data.layouts.gi_tract import rle_csv
from volseg.data.volume import Volume
from volseg.errors import OutputError, UserError
from volseg.inference.correction_file import CORRECTED, UNSAVED
from volseg.inference.prediction_folder import MASK, PROBABILITY, RECORD, RLE, Prediction, read_record
from volseg.inference.prediction_record import PredictionRecord
from volseg.system.files import PREFIX, readable_write_errors
from volseg.system.locks import folder_lock

OPEN = "it is open in `volseg view`, which may be saving; close it there, and run the command again"
LATER_S = 2.0  # that a file is newer than a record without hashes if it was changed after it


@dataclass(frozen=True)
class EarlierPrediction:
    """The prediction in a scan's folder, if there is one; `written` are the files of the one to be made."""

    folder: Path
    written: tuple[str, ...]
    prediction: Prediction | None

    @classmethod
    def find_in(cls, folder: Path, written: Sequence[str]) -> "EarlierPrediction":
        """The prediction in a folder."""
        record = read_record(folder)
        found = Prediction.model_validate({**record.model_dump(), "folder": folder}) if record else None
        return cls(folder, tuple(written), found)

    def as_it_is_now(self) -> "EarlierPrediction":
        """What lies in the folder now."""
        return self.find_in(self.folder, self.written)

    def refuse_foreign_masks(self) -> None:
        """Raise rather than replace masks that inference did not write, such as the labels."""
        masks = [*(name for name in self.written if (self.folder / name).exists()), *self.correction_folders]
        if masks and self.prediction is None:
            damaged = " that can be read" if (self.folder / RECORD).is_file() else ""
            raise OutputError(
                f"{self.folder}: holds {', '.join(masks)} without {RECORD}{damaged}, so volseg did not write "
                "them; choose another --out, or pass --force to replace them"
            )

    def conflict_with(self, source: Sequence[str], image_hash: str, grid: Volume | None = None) -> str:
        """The reason why this image's masks must not replace those that are here, or ''.

        `image_hash` is '' for an image that can't be read; then its place alone tells it. Records of earlier
        versions know neither; then the masks' grid tells it.
        """
        old = self.prediction
        if old is None:
            return ""
        if grid and not old.source and self._lies_elsewhere(grid):
            return (
                f"{self.folder}: holds masks of another grid, so of another scan; choose another --out for "
                f"{', '.join(source)}, or pass --force to replace them"
            )
        moved = bool(old.source) and old.source != tuple(source)
        other_image = bool(old.image_hash) and old.image_hash != image_hash
        if moved and (other_image or not old.image_hash):
            return (
                f"{self.folder}: holds the masks of another scan, read from {', '.join(old.source)}; choose "
                f"another --out for {', '.join(source)}, or pass --force to replace them"
            )
        if self.peoples_files and (old.status == "failed" or other_image):
            what = "that volseg did not write" if old.status == "failed" else "corrected on another image"
            names = ", ".join(self.peoples_files)
            return f"{self.folder}: holds {names} {what}, which stay; --force replaces them"
        return ""

    @property
    def correction_folders(self) -> tuple[str, ...]:
        """The folders of masks that were corrected in the viewer: saved ones, and those not yet saved."""
        return tuple(f"{name}/" for name in (CORRECTED, UNSAVED) if (self.folder / name).is_dir())

    @cached_property
    def peoples_files(self) -> tuple[str, ...]:
        """The files and folders that a person made or changed."""
        return (*self.edited_files, *self.correction_folders)

    @cached_property
    def edited_files(self) -> tuple[str, ...]:
        """The files that a person put in place of predicted ones; what can't be read is merely damaged."""
        old = self.prediction
        if old is None:
            return ()
        unlisted = [name for name in self.written if name not in old.files and (self.folder / name).is_file()]
        if not old.files:  # the record of an earlier version, or of a scan that failed
            unlisted = [name for name in unlisted if self._is_newer_than_record(name)]
        return tuple(name for name in (*old.edited_files, *unlisted) if _is_readable(self.folder / name))

    def reusable_record(self, key: str) -> PredictionRecord | None:
        """The record, if it is of exactly these inputs and each file is there as it was written.

        What was corrected beside them stays as it is.
        """
        old = self.prediction
        if old is None or (old.key, old.status) != (key, "done"):
            return None
        complete = not old.missing_classes and all((self.folder / name).is_file() for name in old.files)
        return old if complete and not old.edited_files else None

    def keep_corrected(self) -> tuple[PredictionRecord, str]:
        """The record of what is still as predicted, and a line that tells which files are not.

        Raises:
            UserError: what was corrected in the viewer is damaged.
        """
        old = self.prediction
        if old is None:
            raise AssertionError("there is nothing to keep")
        files = self.edited_files
        lost = [old.mask_file(name).path.relative_to(self.folder).as_posix() for name in old.missing_classes]
        missing = "".join(f"; {name} is missing" for name in lost)
        work, fate = self._kept_work()
        told = f"{self.folder}: kept: {work}{missing}; --force {fate}"
        gone = {*old.edited_classes, *(name for name in old.classes if f"{name}{MASK}" in files)}
        kept = {name: confidence for name, confidence in old.confidence.items() if name not in gone}
        return old.model_copy(update={"confidence": kept}), told

    def _kept_work(self) -> tuple[str, str]:
        """What people have done here, and what --force does to it."""
        files, folders = self.edited_files, " and ".join(self.correction_folders)
        by_hand = f"{', '.join(files)} was corrected by hand"
        in_viewer = f"masks corrected in `volseg view` lie in {folders}"
        replaced = "the prediction" if not files else "it" if len(files) == 1 else "them"
        if not folders:
            return by_hand, f"replaces {replaced}"
        return f"{by_hand}, {in_viewer}" if files else in_viewer, f"replaces {replaced} and removes {folders}"

    def remove_corrections(self) -> str:
        """Remove what was corrected in the viewer; a line that tells so, '' where nothing was.

        Raises:
            UserError: a page of the viewer has the scan.
        """
        folders = self.correction_folders
        if not folders:
            return ""
        with self._held():
            self._remove_folders(folders)
        return f"{self.folder}: removed for --force: {' and '.join(folders)}"

    def remove(self) -> None:
        """Remove the files of the prediction, and its record; other files stay, but not corrections of it.

        What a process that was killed has left half written goes as well.

        Raises:
            UserError: a page of the viewer has the scan.
        """
        with self._held():
            self._remove_folders(self.correction_folders)
            left = [path.name for path in self.folder.glob(f"{PREFIX}*") if path.is_file()]
            with readable_write_errors(self.folder):
                for name in (*left, *self._predicted_files):
                    (self.folder / name).unlink(missing_ok=True)

    @property
    def _predicted_files(self) -> tuple[str, ...]:
        """The names of the files of the prediction, its record last."""
        old = self.prediction
        if old is None:
            return ()
        masks = [f"{name}{ending}" for name in old.classes for ending in (MASK, PROBABILITY)]
        return (*(old.files or (*masks, RLE)), RECORD)

    def remove_unless_open(self) -> bool:
        """Remove what `remove` does, unless a page of the viewer has the scan; whether it is removed."""
        try:
            self.remove()
        except OutputError:
            raise
        except UserError:
            return False
        return True

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Hold the folder, if it is there, while what is in it goes."""
        with folder_lock(self.folder, busy=OPEN) if self.folder.is_dir() else nullcontext():
            yield

    def _remove_folders(self, names: Sequence[str]) -> None:
        with readable_write_errors(self.folder):
            for name in names:
                shutil.rmtree(self.folder / name)

    def _lies_elsewhere(self, grid: Volume) -> bool:
        """Whether a mask lies on another grid."""
        masks = [
            path for name in self.written if (path := self.folder / name).suffix == ".gz" and path.is_file()
        ]
        return any(_is_readable(path) and not volume_files.read(path).same_grid(grid) for path in masks[:1])

    def _is_newer_than_record(self, name: str) -> bool:
        times = [(self.folder / file).stat().st_mtime for file in (name, RECORD)]
        return times[0] > times[1] + LATER_S


def _is_readable(path: Path) -> bool:
    """Whether a file of a prediction holds a volume, or codes."""
    try:
        rle_csv.read(path) if path.suffix == ".csv" else volume_files.read(path)
    except UserError:
        return False
    return True
