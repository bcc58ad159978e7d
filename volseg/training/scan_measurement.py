"""What the scans of a training are like, for the run to know them by."""

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

from volseg.data.dataset import Dataset, Sample
from volseg.data.preprocessing.intensity_scaling import Intensity
from volseg.data.scan_traits import ScanTraits, measure_traits
from volseg.errors import UserError
from volseg.runs.training_scans import TrainingScans
from volseg.system.hardware import available_cores


def measure_scans(dataset: Dataset, names: Collection[str], intensity: Intensity) -> TrainingScans:
    """What these scans are like, their grey values as the network sees them.

    Raises:
        UserError: an image that can't be read.
    """

    def measure(sample: Sample) -> ScanTraits:
        try:
            return measure_traits(dataset.channels(sample), intensity)
        except UserError as error:
            raise UserError(f"{sample.name}: {error}") from error

    samples = [sample for sample in dataset.samples if sample.name in names]
    with ThreadPoolExecutor(available_cores()) as threads:
        traits = [*threads.map(measure, samples)]
    return TrainingScans.of(traits, cases=len({sample.case for sample in samples}))
