"""Validation during training: scores of full scans, predicted as by `volseg infer`."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from volseg.config.sections import SelectName
from volseg.data.dataset import Dataset, Sample
from volseg.data.volume import Volume
from volseg.inference.memory_budget import MemoryBudget, warm_up_networks
from volseg.inference.predictor import Predictor, build_predictor, ensemble_member
from volseg.inference.probability_maps import ProbabilityMaps
from volseg.metrics.mask_pair import MaskPair
from volseg.metrics.overlap import Dice
from volseg.model.distributed import process_group
from volseg.model.engines.torch import TorchNetwork
from volseg.model.engines.torch_device import Device
from volseg.runs.run import Run
from volseg.runs.run_files import VALIDATION, RunSplits
from volseg.system.processes import pipelined
from volseg.system.timing import StepTimer
from volseg.training.selection import SELECTIONS, Selection, column_means, mean_over_classes
from volseg.visualization.overlay import Picture, draw_overlay


@dataclass
class RankScores:
    """Each class's Dice by scan, of the scans of one rank, and a picture by set on rank 0.

    `selected` is what the score that chooses the weights measures of each class, if that isn't Dice.
    """

    dice: dict[str, list[float]] = field(default_factory=dict)
    pictures: dict[str, Picture] = field(default_factory=dict)
    selected: dict[str, list[Any]] = field(default_factory=dict)


class _Task(NamedTuple):
    """A scan to score; the name of its set if a picture is to be drawn of it."""

    sample: Sample
    picture: str


class _ReadScan(NamedTuple):
    task: _Task
    channels: tuple[Volume, ...]


class _PredictedScan(NamedTuple):
    task: _Task
    first: Volume
    maps: ProbabilityMaps


class _ScoredScan(NamedTuple):
    task: _Task
    dice: list[float]
    selected: list[Any]
    picture: Picture | None


@dataclass(frozen=True)
class Validation:
    """Full-volume scores of the validation sets by a copy of the weights; several ranks share the scans.

    `network` is the copy, which the predictor applies; training may go on meanwhile. `select` names the
    score that chooses the best weights.
    """

    dataset: Dataset
    sets: RunSplits
    network: nn.Module
    predictor: Predictor
    select: SelectName = "dice"

    @classmethod
    def of_network(cls, run: Run, dataset: Dataset, network: nn.Module, device: Device) -> "Validation":
        """The validation of a run's network by a copy of it on the same device."""
        copied = copy.deepcopy(network)
        member = ensemble_member(run, TorchNetwork(copied, device))
        predictor = build_predictor(run, member)
        return cls(dataset, run.facts, copied, predictor, run.config.train.select)

    @property
    def _selection(self) -> Selection | None:
        """The score that is measured beside Dice; None where that is all."""
        return None if self.select == "dice" else SELECTIONS[self.select]

    def take_weights(self, network: nn.Module) -> None:
        """Copy the weights that are to be validated."""
        self.network.load_state_dict(network.state_dict())

    def warm_up(self) -> None:
        """Predict a batch of windows, for whose size a GPU looks for its fastest kernels."""
        warm_up_networks(self.predictor.members, len(self.sets.channels))

    def score_own_scans(self, after_each: Callable[[int, int], object]) -> RankScores:
        """Each class's scores of this rank's scans; NaN: the scan has no such class, nor was it predicted.

        While one is predicted the next is read, and the last one cleaned and scored, if memory has room.
        `after_each` gets the scans that are done and all scans, on all ranks equally often; what it raises
        ends validation.
        """
        budget = MemoryBudget.for_predictor(self.predictor, len(self.sets.channels), None)
        own = list(self._tasks(process_group.rank()))
        steps = (self._read, self._predict, self._score)
        results = pipelined(own, *steps, beside=lambda scan: budget.has_room_beside(scan.channels))
        found, count = RankScores(), len(list(self._tasks(0)))  # no rank has more than the first
        with closing(results):
            for done in range(1, count + 1):
                if scored := next(results, None):
                    found.dice[scored.task.sample.name] = scored.dice
                    found.selected[scored.task.sample.name] = scored.selected
                    if scored.picture is not None:
                        found.pictures[scored.task.picture] = scored.picture
                after_each(done, count)
        return found

    def gather_scores(self, own: RankScores) -> dict[str, float]:
        """Mean Dice by set and class over all ranks; the mean over both sets of what chooses as `score`.

        If that isn't Dice, it is there by set too, such as `kaggle_unseen_cases`. Empty without sets.
        """
        parts = process_group.all_gather((own.dice, own.selected))
        dice, selected = ({name: row for part in parts for name, row in part[k].items()} for k in (0, 1))
        scores: dict[str, float] = {}
        chosen_by = []
        for name in VALIDATION:
            scans = [scan.name for scan in self._samples(name)]
            if scans:
                rows = [dice[scan] for scan in scans]
                scores[name] = round(mean_over_classes(rows), 5)
                for class_name, value in zip(self.dataset.classes, column_means(rows), strict=True):
                    scores[f"{name}_{class_name}"] = round(value, 5)
                chosen_by.append(scores[name])
                if self._selection:
                    score = self._selection.combine([selected[scan] for scan in scans])
                    chosen_by[-1] = scores[f"{self.select}_{name}"] = round(score, 5)
        means = [mean for mean in chosen_by if not math.isnan(mean)]  # NaN: a set without any class
        return scores | ({"score": round(float(np.mean(means)), 5)} if means else {})

    def _samples(self, name: str) -> Sequence[Sample]:
        """The scans of a set."""
        return [sample for sample in self.dataset.samples if sample.name in getattr(self.sets, name)]

    def _tasks(self, rank: int) -> Iterator[_Task]:
        """A rank's scans of each set; the first rank draws a picture of the first scan."""
        for name in VALIDATION:
            for number, sample in enumerate(self._samples(name)[rank :: process_group.world_size()]):
                yield _Task(sample, picture="" if rank or number else name)

    def _read(self, task: _Task) -> _ReadScan:
        return _ReadScan(task, self.dataset.channels(task.sample))

    def _predict(self, scan: _ReadScan) -> _PredictedScan:
        maps = self.predictor.predict_probabilities(scan.channels, StepTimer())
        return _PredictedScan(scan.task, scan.channels[0], maps)

    def _score(self, scan: _PredictedScan) -> _ScoredScan:
        """Each class's scores, class by class as masks are large, and on demand a picture."""
        sample, dice, selected, pairs = scan.task.sample, [], [], []
        axis = scan.maps.grid.slice_axis
        for name, mask in self.predictor.postprocess_masks(scan.maps, scan.first, StepTimer()):
            label = self.dataset.label(sample, name)
            pair = MaskPair.with_slices_last(label, mask, sample.spacing_mm, slice_axis=axis)
            dice.append(Dice()(pair))
            if self._selection:
                selected.append(self._selection.measure(pair))
            if scan.task.picture:
                pairs.append((mask, label))
        if not pairs:
            return _ScoredScan(scan.task, dice, selected, None)
        masks, labels = (np.stack(side) for side in zip(*pairs, strict=True))
        drawn = draw_overlay(scan.first, masks, labels=labels, numbers=sample.slices)
        return _ScoredScan(scan.task, dice, selected, drawn)
