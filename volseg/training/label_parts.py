"""The parts of each class in the labels of training scans, for the steps that they justify."""

import math
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from volseg.data.dataset import Dataset, Sample
from volseg.postprocessing.connected_components import ConnectedComponents
from volseg.postprocessing.label_steps import LabelParts, LabelSteps, justify_steps
from volseg.system.hardware import available_cores


def steps_by_labels(dataset: Dataset, names: Collection[str]) -> LabelSteps:
    """The steps that the labels of these scans justify.

    Raises:
        UserError: labels that can't be read.
    """
    samples = [sample for sample in dataset.samples if sample.name in names]
    with ThreadPoolExecutor(available_cores()) as threads:
        scans = list(threads.map(partial(measure_parts, dataset), samples))
    return justify_steps({name: [scan[name] for scan in scans] for name in dataset.classes})


def measure_parts(dataset: Dataset, sample: Sample) -> dict[str, LabelParts]:
    """The parts of each class in the labels of one scan; one mask is in memory at a time."""
    voxel_mm3 = math.prod(sample.spacing_mm)
    found = {}
    for name in dataset.classes:
        sizes = ConnectedComponents.from_mask(dataset.label(sample, name)).sizes
        found[name] = LabelParts(sample.case, tuple((sizes * voxel_mm3).tolist()))
    return found
