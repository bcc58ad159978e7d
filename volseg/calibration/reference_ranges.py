"""Ranges of the training labels of each class, outside which a predicted mask is unusual."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial

from volseg import console
from volseg.data.dataset import Dataset, Sample
from volseg.data.preprocessing.intensity_scaling import Intensity
from volseg.errors import UserError
from volseg.inference.confidence.calibration_file import ReferenceRanges
from volseg.inference.confidence.mask_features import MaskFeatures
from volseg.inference.confidence.review import intensity_levels, scan_mask_features
from volseg.runs.run import Run
from volseg.system import hardware, processes

Labels = dict[str, MaskFeatures]
"""The features of one class's labels, by scan."""
OFTEN = 0.25
"""From this share of the scans on, touching an end of the scan is usual."""


def class_ranges(labels: Labels, border_mm: float | None, cases: Mapping[str, str]) -> ReferenceRanges:
    """The ranges of a class's labels; `border_mm` is the largest border uncertainty on validation scans."""
    there = {scan: features for scan, features in labels.items() if features.volume_ml}
    grey = [features.intensity for features in there.values() if features.intensity is not None]
    touched = Counter(end for features in there.values() for end in features.cut)
    return ReferenceRanges(
        scans=len(labels),
        volume_ml={scan: round(features.volume_ml, 3) for scan, features in there.items()},
        most_parts=max((features.parts for features in there.values()), default=0),
        intensity=(min(grey), max(grey)) if grey else None,
        cut=tuple(end for end, count in touched.items() if count >= OFTEN * len(there)),
        border_mm=border_mm,
        cases={scan: cases[scan] for scan in there if scan in cases},
    )


def training_label_features(members: Sequence[Run], dataset: Dataset) -> dict[str, Labels]:
    """The features of each class's labels in the scans that any of the runs was trained on.

    Scans that were excluded since are left out: their labels say nothing.
    """
    samples = [
        sample
        for sample in dataset.samples
        if any(run.facts.split_name(sample.identity) == "train" for run in members)
        and sample.labels
        and not sample.excluded
    ]
    task = partial(_measure_scan_labels, dataset, members[0].config.data.intensity)
    by_class: dict[str, Labels] = {name: {} for name in dataset.classes}
    killed = "the process that looked at it was killed (out of memory?)"
    work = processes.map_unordered(
        task, samples, workers=hardware.available_cores(), died=lambda sample: f"{sample.name}: {killed}"
    )
    with console.progress_bar("looking at training labels") as report, closing(work):
        for count, (place, outcome) in enumerate(work, start=1):
            if isinstance(outcome, str):
                raise UserError(outcome)
            for name, features in outcome.items():
                by_class[name][samples[place].name] = features
            report(count, len(samples), samples[place].name)
    return {name: dict(sorted(labels.items())) for name, labels in by_class.items()}


def _measure_scan_labels(dataset: Dataset, intensity: Intensity, sample: Sample) -> Labels | str:
    """The features of a scan's labels by class, or the problem of its files; `intensity` scales the image."""
    try:
        first = dataset.image(sample)
        levels = intensity_levels(first.voxels, intensity)
        return {
            name: scan_mask_features(dataset.label(sample, name), first, levels) for name in dataset.classes
        }
    except UserError as error:
        return str(error)
