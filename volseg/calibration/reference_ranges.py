"""What the organs of training scans look like, beside which a prediction may be unusual."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from volseg import console
from volseg.data.dataset import Dataset, Sample
from volseg.data.preprocessing.intensity_scaling import Intensity
from volseg.errors import UserError
from volseg.inference.confidence.calibration_file import Usual
from volseg.inference.confidence.mask_features import MaskFeatures
from volseg.inference.confidence.review import intensity_levels, scan_mask_features
from volseg.runs.run import Run
from volseg.system import hardware, processes

Labels = dict[str, MaskFeatures]
"""What one class looks like in labels, by scan."""
OFTEN = 0.25
"""The share of scans in which an end of the scan is touched, from which that is nothing to tell."""


def class_ranges(labels: Labels, border_mm: float | None) -> Usual:
    """The ranges of a class in labels; `border_mm` is the most over which its border was unsure."""
    there = {scan: look for scan, look in labels.items() if look.volume_ml}
    grey = [look.intensity for look in there.values() if look.intensity is not None]
    return Usual(
        scans=len(labels),
        volume_ml={scan: round(look.volume_ml, 3) for scan, look in there.items()},
        most_parts=max((look.parts for look in there.values()), default=0),
        intensity=(min(grey), max(grey)) if grey else None,
        cut=tuple(_often_cut_ends(there.values())),
        border_mm=border_mm,
    )


def _often_cut_ends(looks: Collection[MaskFeatures]) -> Iterator[str]:
    """The ends of the scan that an organ often touches."""
    touched = Counter(end for look in looks for end in look.cut)
    yield from (end for end, count in touched.items() if count >= OFTEN * len(looks))


def training_label_features(members: Sequence[Run], dataset: Dataset) -> dict[str, Labels]:
    """What each class looks like in the scans that any of the runs was trained on."""
    names = {name for run in members for name in run.facts.train}
    scans = [
        _LabelledScan(dataset, one, members[0].config.data.intensity)
        for one in dataset.samples
        if one.name in names and one.labels
    ]
    found: dict[str, Labels] = {name: {} for name in dataset.classes}
    work = processes.map_unordered(
        _measure_scan_labels, scans, workers=hardware.available_cores(), died=_worker_died_message
    )
    with console.progress_bar("looking at training labels") as report, closing(work):
        for count, (place, looks) in enumerate(work, start=1):
            if isinstance(looks, str):
                raise UserError(looks)
            for name, look in looks.items():
                found[name][scans[place].sample.name] = look
            report(count, len(scans), scans[place].sample.name)
    return {name: dict(sorted(looks.items())) for name, looks in found.items()}


@dataclass(frozen=True)
class _LabelledScan:
    """A training scan whose labels are looked at, with its image scaled as a run does."""

    dataset: Dataset
    sample: Sample
    intensity: Intensity


def _measure_scan_labels(scan: _LabelledScan) -> dict[str, MaskFeatures] | str:
    """What each class of a scan looks like, or what is wrong with its files."""
    try:
        first = scan.dataset.image(scan.sample)
        levels = intensity_levels(first.voxels, scan.intensity)
        return {
            name: scan_mask_features(scan.dataset.label(scan.sample, name), first, levels)
            for name in scan.dataset.classes
        }
    except UserError as error:
        return str(error)


def _worker_died_message(scan: _LabelledScan) -> str:
    return f"{scan.sample.name}: the process that looked at it was killed (out of memory?)"
