"""A predicted scan as the page shows it: its image, and its masks of every kind."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from volseg.data import volume_files
from volseg.data.dataset import Dataset, Sample
from volseg.data.mask_files import Mask, MaskFile, MaskReader, read_grid
from volseg.data.volume import Volume, turned_like
from volseg.errors import UserError
from volseg.inference.correction_file import CORRECTED, CORRECTION, UNSAVED, Correction
from volseg.inference.image_source import ImageSource
from volseg.inference.prediction_folder import PROBABILITY, Prediction, source_slice_numbers
from volseg.system.files import file_sha256
from volseg.system.json_files import read_json
from volseg.viewer.display_grid import DisplayGrid
from volseg.viewer.earlier_scan import EarlierScan, has_labels
from volseg.viewer.refusal import RefusedError

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class ViewedScan:
    """A prediction as it lies on the disk now; what is read of it is kept for one request.

    All arrays are on the native grid.
    """

    prediction: Prediction
    dataset: Dataset | None = None
    earlier: EarlierScan | None = None

    @property
    def name(self) -> str:
        """Such as case123_day20."""
        return self.prediction.scan

    @property
    def folder(self) -> Path:
        """The folder of its masks."""
        return self.prediction.folder

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that it was predicted for."""
        return self.prediction.classes

    @cached_property
    def sample(self) -> Sample | None:
        """The scan in the dataset, where it is there."""
        return self.dataset.find_sample(self.prediction.identity) if self.dataset else None

    @cached_property
    def geometry(self) -> Volume:
        """The native grid, without voxels: that of the dataset's image, else of the first predicted mask."""
        if self.dataset and self.sample:
            return read_grid(self.dataset.grid_file(self.sample))
        return read_grid(self.prediction.predicted_file(self.classes[0]).path)

    @cached_property
    def grid(self) -> DisplayGrid:
        """The grid that the page sees."""
        return DisplayGrid.from_volume(self.geometry)

    @cached_property
    def slice_numbers(self) -> list[int]:
        """For each slice of the display grid, the number that the record has for it."""
        numbers = self.sample.slices if self.sample else source_slice_numbers(self.prediction)
        native = self.grid.native_slices
        return [numbers[index] for index in native] if len(numbers) == len(native) else native

    @property
    def image_source(self) -> ImageSource:
        """Where the image is."""
        return ImageSource(self.prediction, self.dataset, self.sample)

    @cached_property
    def bases(self) -> dict[str, str]:
        """The SHA-256 of each class's mask file that counts now."""
        return {name: file_sha256(self._existing(self.prediction.mask_file(name))) for name in self.classes}

    @cached_property
    def unsaved(self) -> Correction | None:
        """The work that lies aside, where it can be read and is newer than what was saved."""
        path = self.folder / UNSAVED / CORRECTION
        try:
            unsaved = read_json(path, Correction) if path.is_file() else None
        except UserError:
            return None
        saved = self.prediction.correction
        return None if unsaved and saved and _time(saved) >= _time(unsaved) else unsaved

    @property
    def changed_since_unsaved(self) -> tuple[str, ...]:
        """The classes whose masks are no longer those from which the work aside began, its `base`."""
        begun = self.unsaved.classes if self.unsaved else {}
        return tuple(name for name, one in begun.items() if self.bases.get(name) != one.base)

    @cached_property
    def readers(self) -> Mapping[str, Callable[[str], Mask | Bytes]]:
        """How each kind of a class's voxels is read, by the name in the address."""
        return {
            "mask": self.mask,
            "predicted": self.predicted,
            "probability": self.probability,
            "truth": self.truth,
            "earlier": self.earlier_mask,
            "unsaved": self.unsaved_mask,
        }

    def mask(self, name: str) -> Mask:
        """The mask that counts: the corrected one where there is one."""
        return self._read_mask(self.prediction.mask_file(name))

    def predicted(self, name: str) -> Mask:
        """The network's mask."""
        return self._read_mask(self.prediction.predicted_file(name))

    def unsaved_mask(self, name: str) -> Mask:
        """The mask of the work that lies aside."""
        if self.unsaved is None:
            raise RefusedError(404, f"{self.name}: nothing unsaved lies aside")
        return self._read_mask(MaskFile(self.folder / UNSAVED / f"{name}.nii.gz"))

    def has_probability(self, name: str) -> bool:
        """Whether `volseg infer --save-probabilities` wrote the class's probability, which still counts."""
        return self._probability_file(name).is_file() and name not in self.prediction.edited_in_place

    def probability(self, name: str) -> Bytes:
        """The class's probability in 255ths."""
        path = self._probability_file(name)
        if not self.has_probability(name):
            raise RefusedError(
                404, f"{self.name}: no probability of {name}; `infer --save-probabilities` keeps it"
            )
        turned = turned_like(volume_files.read(path), self.geometry)
        if turned is None:
            raise UserError(f"{path}: lies on another grid than its scan")
        return np.rint(turned.voxels * np.float32(255)).astype(np.uint8)

    def has_truth(self, name: str) -> bool:
        """Whether the dataset has labels of the class that are not known to be bad."""
        return has_labels(self.sample, name)

    def truth(self, name: str) -> Mask:
        """The dataset's labels."""
        if not (self.dataset and self.sample and self.has_truth(name)):
            raise RefusedError(404, f"{self.name}: no labels of {name}")
        return self.dataset.label(self.sample, name)

    def has_earlier(self, name: str) -> bool:
        """Whether there is a contour of the class on an earlier day."""
        return self.earlier is not None and self.earlier.has_class(name)

    def earlier_mask(self, name: str) -> Mask:
        """The class on the earlier day."""
        if not (self.earlier and self.has_earlier(name)):
            raise RefusedError(404, f"{self.name}: no {name} of an earlier day")
        return self.earlier.mask(name, self.geometry, self.dataset)

    def _probability_file(self, name: str) -> Path:
        return self.folder / f"{name}{PROBABILITY}"

    def _read_mask(self, file: MaskFile) -> Mask:
        self._existing(file)
        return MaskReader(self.geometry, advice=_advice(file)).read(file)

    def _existing(self, file: MaskFile) -> Path:
        if not file.path.is_file():
            raise RefusedError(404, f"{file.path}: the mask is missing; {_advice(file)}")
        return file.path


def _advice(file: MaskFile) -> str:
    """What helps where a mask is missing or damaged; inference keeps what was corrected."""
    if file.path.parent.name == CORRECTED:
        return f"move {CORRECTED}/ away to go on with what was predicted"
    return "run `volseg infer` again"


def _time(correction: Correction) -> float:
    """When a correction was saved, in seconds."""
    try:
        return datetime.fromisoformat(correction.saved).timestamp()
    except ValueError:
        return 0.0
