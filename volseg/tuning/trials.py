"""Trying pipelines on scans whose probabilities are known: what each would score. Needs no torch."""

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np

from volseg import console
from volseg.data.dataset import Dataset, Sample
from volseg.errors import UserError
from volseg.evaluation.bootstrap import FiniteSums
from volseg.formatting import natural_key
from volseg.inference.probability_maps import ProbabilityMaps
from volseg.metrics.mask_pair import MaskPair
from volseg.postprocessing import Step, StepInput, apply_steps
from volseg.postprocessing.connected_components import Mask
from volseg.system import hardware, processes
from volseg.tuning.objectives import OBJECTIVES, ObjectiveName
from volseg.tuning.search_space import Pipeline, class_pipeline

Wanted = Mapping[str, Sequence[Pipeline]]
"""By class, the pipelines to try."""
ROUNDS = 4
"""How many times as long as the first place all of them take, where it has the most settings by far."""
Tables = dict[str, dict[Pipeline, FiniteSums]]
"""By class and pipeline, what each case's scans add up to, (cases, C)."""


@dataclass(frozen=True)
class PredictedScan:
    """A scan and the probabilities that were found for it."""

    sample: Sample
    maps: ProbabilityMaps


@dataclass(frozen=True)
class PipelineTrial:
    """All that it takes to try pipelines on one scan; `steps` are those that are in use."""

    dataset: Dataset
    scan: PredictedScan
    steps: tuple[Step, ...]
    goal: ObjectiveName
    wanted: Wanted


@dataclass(frozen=True)
class TrialRunner:
    """The scans to try pipelines on, and when to stop, by `time.monotonic`."""

    dataset: Dataset
    scans: Sequence[PredictedScan]
    steps: tuple[Step, ...]
    goal: ObjectiveName
    until: float

    @property
    def cases(self) -> list[str]:
        """The scans' cases, in the order of the rows of what is found."""
        return sorted({scan.sample.case for scan in self.scans}, key=natural_key)

    def thin_to_time(self, wanted: Wanted) -> "TrialRunner":
        """As many of the scans as time is left for, by how long these pipelines, the first, take for one.

        The first days of all cases come before the second.
        """
        begun = time.monotonic()
        _score_trial(self._make_trial(self.scans[0], wanted))
        now = time.monotonic()
        most = int((self.until - now) * hardware.available_cores() / (ROUNDS * (now - begun)))
        seen: Counter[str] = Counter()
        turns = []
        for scan in self.scans:
            turns.append(seen[scan.sample.case])
            seen[scan.sample.case] += 1
        in_turn = sorted(range(len(turns)), key=turns.__getitem__)
        return replace(self, scans=[self.scans[number] for number in sorted(in_turn[:most])])

    def score_pipelines(self, wanted: Wanted, what: str) -> Tables | None:
        """What the pipelines score, several processes sharing the scans; None if the time is over.

        Raises:
            UserError: a scan's files can't be read, or a process was killed.
        """
        trials = [self._make_trial(one, wanted) for one in self.scans]
        found: dict[int, dict[str, list[FiniteSums]]] = {}
        work = processes.map_unordered(
            _score_trial, trials, workers=hardware.available_cores(), died=_worker_died_message
        )
        with console.progress_bar(f"trying {what}") as report, closing(work):
            for position, outcome in work:
                if isinstance(outcome, str):
                    raise UserError(outcome)
                found[position] = outcome
                report(len(found), len(trials), self.scans[position].sample.name)
                if time.monotonic() > self.until and len(found) < len(trials):
                    return None
        return self._sum_by_case(wanted, [found[number] for number in range(len(trials))])

    def _make_trial(self, scan: PredictedScan, wanted: Wanted) -> PipelineTrial:
        return PipelineTrial(self.dataset, scan, self.steps, self.goal, wanted)

    def _sum_by_case(self, wanted: Wanted, found: Sequence[Mapping[str, Sequence[FiniteSums]]]) -> Tables:
        rows = {case: number for number, case in enumerate(self.cases)}
        where = np.array([rows[scan.sample.case] for scan in self.scans])
        belongs = (np.arange(len(rows))[:, None] == where).astype(float)
        return {
            name: {
                pipeline: FiniteSums(
                    belongs @ np.array([one[name][number].sums for one in found]),
                    belongs @ np.array([one[name][number].counts for one in found]),
                )
                for number, pipeline in enumerate(pipelines)
            }
            for name, pipelines in wanted.items()
        }


def pipeline_masks(start: StepInput, pipelines: Iterable[Pipeline]) -> Iterator[tuple[Pipeline, Mask]]:
    """Each pipeline and its mask, in another order: steps that pipelines begin with alike are done once.

    Memory grows with the length of a pipeline, not with their number.
    """
    path: list[tuple[Step | None, StepInput]] = [(None, start)]
    for pipeline in sorted(set(pipelines), key=repr):
        shared = 0
        for (done, _), step in zip(path[1:], pipeline, strict=False):
            if done != step:
                break
            shared += 1
        del path[shared + 1 :]
        for step in pipeline[shared:]:
            before = path[-1][1]
            path.append((step, before.with_mask(step(before))))
        yield pipeline, path[-1][1].mask


def _score_trial(trial: PipelineTrial) -> dict[str, list[FiniteSums]] | str:
    """By class, what each pipeline's mask scores, in the order in which they are wanted."""
    try:
        return dict(_score_classes(trial))
    except UserError as error:
        return str(error)


def _score_classes(trial: PipelineTrial) -> Iterator[tuple[str, list[FiniteSums]]]:
    goal, sample = OBJECTIVES[trial.goal], trial.scan.sample
    evidence = _step_inputs(trial)
    lost = _lost_voxels(evidence, trial.steps) if trial.dataset.facts.exclusive else {}
    for name, pipelines in trial.wanted.items():
        truth = trial.dataset.label(sample, name).astype(bool)
        known: dict[bytes, FiniteSums] = {}
        found: dict[Pipeline, FiniteSums] = {}
        for pipeline, mask in pipeline_masks(evidence[name], pipelines):
            own = mask & ~lost[name] if name in lost else mask
            key = hashlib.blake2b(np.packbits(own.T).tobytes()).digest()
            if key not in known:
                known[key] = goal.sums(MaskPair(truth, own, sample.spacing_mm))
            found[pipeline] = known[key]
        yield name, [found[pipeline] for pipeline in pipelines]


def _step_inputs(trial: PipelineTrial) -> dict[str, StepInput]:
    image, maps = trial.dataset.image(trial.scan.sample), trial.scan.maps
    return {
        name: StepInput.from_probability(
            maps.class_probability(number),
            image=image.voxels,
            spacing_mm=image.spacing_mm,
            slice_axis=maps.grid.slice_axis,
        )
        for number, name in enumerate(trial.dataset.classes)
    }


def _lost_voxels(evidence: Mapping[str, StepInput], steps: Sequence[Step]) -> dict[str, Mask]:
    """Of exclusive classes, where the others' present masks win: by probability, of equals the first."""
    names = list(evidence)
    strength = np.stack(
        [
            np.where(apply_steps(one, class_pipeline(steps, name), name), one.probability, np.uint8(0))
            for name, one in evidence.items()
        ]
    )
    lost = {}
    for number, name in enumerate(names):
        own = evidence[name].probability
        earlier = strength[:number].max(axis=0, initial=0)
        later = strength[number + 1 :].max(axis=0, initial=0)
        lost[name] = ((earlier >= own) & (earlier > 0)) | (later > own)
    return lost


def _worker_died_message(trial: PipelineTrial) -> str:
    return f"{trial.scan.sample.name}: the process that tried steps on it was killed (out of memory?)"
