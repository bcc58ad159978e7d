"""Where the image of a predicted scan is: in a dataset, or in the files that it was predicted from."""

from dataclasses import dataclass
from pathlib import Path

from volseg.data.dataset import Dataset, Sample
from volseg.data.image_identity import image_hash
from volseg.data.volume import Volume, turned_like
from volseg.errors import UserError
from volseg.inference.corrections import other_image_problem
from volseg.inference.input_paths import InputFiles
from volseg.inference.prediction_folder import Prediction
from volseg.inference.scan_sources import DICOM_ORIGIN, source_from_files


@dataclass(frozen=True)
class ImageSource:
    """The image of a scan: that of a dataset's `sample`, or of the files that its record names."""

    prediction: Prediction
    dataset: Dataset | None
    sample: Sample | None

    @property
    def stamp(self) -> tuple[object, ...]:
        """What changes with the image: of which masks it is, its files, and when they were written."""
        files = [Path(path) for path in self.prediction.source]
        if self.dataset and self.sample:
            files = [self.dataset.grid_file(self.sample)]
        written = [(str(path), *_size_and_time(path)) for path in files]
        return (self.prediction.scan, self.prediction.key, self.prediction.image_hash, *written)

    def read(self, grid: Volume) -> Volume:
        """The first channel, its axes turned to those of a scan's grid.

        Raises:
            UserError: it is not there, is damaged, another image or on another grid.
        """
        if self.dataset and self.sample:
            image = self.dataset.image(self.sample)
        else:
            image = self._read_source(grid.spacing_mm[2])
        turned = turned_like(image, grid)
        if turned is None:
            raise UserError(f"{self.prediction.scan}: the image lies on another grid than its masks")
        return turned

    def _read_source(self, slice_mm: float) -> Volume:
        """The first channel, from the files that the record names."""
        prediction = self.prediction
        if self.dataset and (problem := other_image_problem(prediction, self.dataset)):
            raise UserError(problem)
        paths = tuple(map(Path, prediction.source))
        if not paths:
            raise UserError(
                f"{prediction.scan}: its record does not name its image; name the dataset by --data"
            )
        if str(paths[0]).startswith(DICOM_ORIGIN):
            raise UserError(
                f"{prediction.scan}: was predicted from DICOM, whose place no record keeps; prepare the "
                "series and name the dataset by --data"
            )
        missing = [path for path in paths if not path.exists()]
        if missing:
            raise UserError(f"{missing[0]}: the image is no longer there; name its dataset by --data")
        files = InputFiles(prediction.scan, paths)
        channels = source_from_files(files, slice_mm=slice_mm, allow_gaps=True).read_channels()
        if prediction.image_hash and image_hash(channels) != prediction.image_hash:
            raise UserError(f"{paths[0]}: is another image than the one that was predicted")
        return channels[0]


def _size_and_time(path: Path) -> tuple[int, int]:
    try:
        told = path.stat()
    except OSError:
        return 0, 0
    return told.st_size, told.st_mtime_ns
