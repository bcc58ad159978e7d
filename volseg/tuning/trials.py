"""Scores of post-processing pipelines on scans with known probabilities. Needs no torch."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile

import numpy as np

from volseg.data.dataset import Dataset
from volseg.errors import UserError
from volseg.evaluation.bootstrap import FiniteSums
from volseg.metrics.mask_pair import MaskPair
from volseg.postprocessing import Step, StepInput, apply_steps
from volseg.postprocessing.connected_components import Mask
from volseg.tuning.objectives import OBJECTIVES, ObjectiveName
from volseg.tuning.scan_scoring import PredictedScan, case_names, scans_in_time, score_scans, sum_by_case
from volseg.tuning.search_space import Pipeline, class_pipeline

Wanted = Mapping[str, Sequence[Pipeline]]
"""By class, the pipelines to score."""
ScanSums = Mapping[str, Sequence[FiniteSums]]
"""By class, the sums (C,) of one scan for each pipeline, in their order."""
Tables = dict[str, dict[Pipeline, FiniteSums]]
"""By class and pipeline, the sums over each case's scans, (cases, C)."""
ROUNDS = 4
"""The time of all dimensions over that of the first, which has the most settings by far."""


@dataclass(frozen=True)
class TrialRunner:
    """The scans to score pipelines on, the steps in use, and the time to stop, by `time.monotonic`."""

    dataset: Dataset
    scans: Sequence[PredictedScan]
    steps: tuple[Step, ...]
    goal: ObjectiveName
    until: float

    @property
    def cases(self) -> list[str]:
        """The scans' cases, in the order of the rows of `Tables`."""
        return case_names(self.scans)

    def thin_to_time(self, wanted: Wanted) -> "TrialRunner":
        """As many scans as time is left for, by the time of these pipelines on one; first days come first."""
        scans = scans_in_time(self.scans, self._scorer(wanted), until=self.until, rounds=ROUNDS)
        return replace(self, scans=scans)

    def score_pipelines(self, wanted: Wanted, what: str) -> Tables | None:
        """The scores of pipelines, several processes sharing the scans; None if the time is over."""
        sums = score_scans(self.scans, self._scorer(wanted), until=self.until, what=what)
        return None if sums is None else self._sum_by_case(wanted, sums)

    def _scorer(self, wanted: Wanted) -> Callable[[PredictedScan], ScanSums | str]:
        return partial(_score_scan, self.dataset, self.steps, self.goal, wanted)

    def _sum_by_case(self, wanted: Wanted, sums: Sequence[ScanSums]) -> Tables:
        return {
            name: {
                pipeline: sum_by_case(self.scans, [scan[name][number] for scan in sums])
                for number, pipeline in enumerate(pipelines)
            }
            for name, pipelines in wanted.items()
        }


def pipeline_masks(start: StepInput, pipelines: Iterable[Pipeline]) -> Iterator[tuple[Pipeline, Mask]]:
    """Each pipeline and its mask, in another order: first steps that pipelines share are applied once."""
    path: list[tuple[Step | None, StepInput]] = [(None, start)]
    for pipeline in sorted(set(pipelines), key=repr):
        both = zip((step for step, _ in path[1:]), pipeline, strict=False)
        shared = sum(1 for _ in takewhile(lambda steps: steps[0] == steps[1], both))
        del path[shared + 1 :]
        for step in pipeline[shared:]:
            before = path[-1][1]
            path.append((step, before.with_mask(step(before))))
        yield pipeline, path[-1][1].mask


def _score_scan(
    dataset: Dataset, steps: Sequence[Step], goal: ObjectiveName, wanted: Wanted, scan: PredictedScan
) -> ScanSums | str:
    """The sums of one scan, or the problem of its files."""
    try:
        inputs = _step_inputs(dataset, scan)
        labels = {name: dataset.label(scan.sample, name).astype(bool) for name in wanted}
    except UserError as error:
        return str(error)
    lost = _lost_voxels(inputs, steps) if dataset.facts.exclusive else {}

    def score(name: str, mask: Mask) -> FiniteSums:
        own = mask & ~lost[name] if name in lost else mask
        axis = inputs[name].slice_axis
        pair = MaskPair.with_slices_last(labels[name], own, scan.sample.spacing_mm, slice_axis=axis)
        return OBJECTIVES[goal].sums(pair)

    return {
        name: _score_pipelines(inputs[name], pipelines, partial(score, name))
        for name, pipelines in wanted.items()
    }


def _score_pipelines(
    start: StepInput, pipelines: Sequence[Pipeline], score: Callable[[Mask], FiniteSums]
) -> list[FiniteSums]:
    """The sums of each pipeline's mask; those of equal masks are computed once."""
    by_mask: dict[bytes, FiniteSums] = {}
    sums: dict[Pipeline, FiniteSums] = {}
    for pipeline, mask in pipeline_masks(start, pipelines):
        key = hashlib.blake2b(np.packbits(mask.T).tobytes()).digest()
        if key not in by_mask:
            by_mask[key] = score(mask)
        sums[pipeline] = by_mask[key]
    return [sums[pipeline] for pipeline in pipelines]


def _step_inputs(dataset: Dataset, scan: PredictedScan) -> dict[str, StepInput]:
    image, maps = dataset.image(scan.sample), scan.maps
    return {
        name: StepInput.from_probability(
            maps.class_probability(number),
            image=image.voxels,
            spacing_mm=image.spacing_mm,
            slice_axis=maps.grid.slice_axis,
        )
        for number, name in enumerate(dataset.classes)
    }


def _lost_voxels(inputs: Mapping[str, StepInput], steps: Sequence[Step]) -> dict[str, Mask]:
    """By exclusive class, the voxels that other classes' masks win: by probability, of equals the first."""
    strength = np.stack(
        [
            np.where(apply_steps(one, class_pipeline(steps, name), name), one.probability, np.uint8(0))
            for name, one in inputs.items()
        ]
    )
    lost = {}
    for number, (name, own) in enumerate(inputs.items()):
        earlier = strength[:number].max(axis=0, initial=0)
        later = strength[number + 1 :].max(axis=0, initial=0)
        lost[name] = ((earlier >= own.probability) & (earlier > 0)) | (later > own.probability)
    return lost
