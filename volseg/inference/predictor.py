"""Prediction of probabilities and masks of native volumes, in validation as in inference; needs no torch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

import numpy as np
import numpy.typing as npt

from volseg.arrays import bounding_box
from volseg.config.sections import Data, Gate, Inference
from volseg.data.preprocessing.body_box import body_box
from volseg.data.preprocessing.grid import NetworkGrid, NetworkInput
from volseg.data.volume import Volume
from volseg.errors import UserError
from volseg.inference.probability_maps import Bytes, ProbabilityMaps
from volseg.inference.sliding_window import accumulate_windows
from volseg.inference.tiling import Tiling
from volseg.model.engines.interface import Arrays, WeightedLogits, WeightedWindow, WindowNetwork
from volseg.postprocessing import Step, StepChange, StepInput, apply_steps, at_least, lowest_threshold
from volseg.postprocessing.pipeline import resolve_overlaps
from volseg.postprocessing.slice_gate import SliceGate
from volseg.runs.run import Run
from volseg.schema import Size
from volseg.system.timing import StepTimer

Mask = npt.NDArray[np.bool_]
Changes = dict[str, list[StepChange]]
"""The changes by each step of post-processing, by class."""


@dataclass(frozen=True)
class EnsembleMember:
    """A network and its run's settings: grid and intensities, overlap and flips, windows (X, Y, Z).

    `reach` is the network's along z, in slices; `weight` is that of all its passes together, without which
    each pass counts like any other.
    """

    network: WindowNetwork
    data: Data
    inference: Inference
    window: Size
    reach: int = 0
    weight: float | None = None

    @property
    def pass_weights(self) -> list[Fraction]:
        """The weight of each pass over a scan."""
        views = self.inference.views
        return [Fraction(1) if self.weight is None else Fraction(self.weight) / views] * views

    @property
    def tta_networks(self) -> list[WindowNetwork]:
        """The network of each pass over a scan: itself, and mirrored along each subset of the flip axes."""
        axes = ["xyz".index(name) for name in self.inference.flips]
        subsets = [subset for n in range(1, len(axes) + 1) for subset in combinations(axes, n)]
        return [self.network, *(MirroredNetwork(self.network, subset) for subset in subsets)]

    def network_input(self, channels: Sequence[Volume]) -> NetworkInput:
        """A scan in the network's orientation, spacing and intensities, (C, X, Y, Z)."""
        return NetworkInput.from_channels(channels, self.data.spacing_mm, self.data.intensity)


def window_tiling(view: NetworkInput, inference: Inference, window: Size, *, reach: int) -> Tiling:
    """Evenly placed windows over the body in a scan or, without `body_box`, MONAI's over the whole scan.

    `reach` is the network's along z.
    """
    box = view.full_box
    if inference.body_box:
        box = view.grid.covering_box(body_box(view.channels, view.grid.oriented_mm))
    return Tiling(view.grid.shape, box, window, inference.overlap, inference.body_box, reach)


@dataclass(frozen=True)
class MirroredNetwork:
    """A network that is given each window mirrored along some of the axes 0, 1, 2."""

    network: WindowNetwork
    axes: tuple[int, ...]

    @property
    def arrays(self) -> Arrays:
        """The network's own."""
        return self.network.arrays

    def parts(self, windows: Iterator[WeightedWindow]) -> Iterator[WeightedLogits]:
        """The weighted logits of each window, mirrored back."""
        axes, flip = tuple(axis + 1 for axis in self.axes), self.arrays.flip
        mirrored = (WeightedWindow(flip(image, axes), flip(weight, self.axes)) for image, weight in windows)
        for part in self.network.parts(mirrored):
            yield part._replace(steps=flip(part.steps, axes))

    def __str__(self) -> str:
        return str(self.network)


@dataclass(frozen=True)
class PredictorGate:
    """A predictor that has the last word on each slice of a class, and its settings."""

    predictor: "Predictor"
    settings: Gate

    def step(self, maps: ProbabilityMaps, class_name: str) -> SliceGate:
        """The step of one class, by the maps of its predictor."""
        found = maps.class_probability(self.predictor.classes.index(class_name))
        return SliceGate(found, self.settings.probability, self.settings.pixels)


@dataclass(frozen=True)
class Predictor:
    """Trained networks with all that applying them to a native volume takes.

    The probabilities of all members and mirrored passes are averaged on the native grid, by their weights.
    Where there is a `gate`, its step comes last in each class.
    """

    members: tuple[EnsembleMember, ...]
    classes: tuple[str, ...]
    postprocess: tuple[Step, ...]
    exclusive: bool
    gate: PredictorGate | None = None

    @property
    def all_members(self) -> tuple[EnsembleMember, ...]:
        """The networks that are averaged, and the gate's."""
        return (*self.members, *(self.gate.predictor.members if self.gate else ()))

    @property
    def most_classes(self) -> int:
        """The classes that a network has at most, the gate's included."""
        return max(len(one.classes) for one in (self, *([self.gate.predictor] if self.gate else [])))

    @property
    def views(self) -> int:
        """The number of mirrored views that each network's probabilities are the mean of."""
        return max(member.inference.views for member in self.members)

    def predict_masks(
        self, channels: Sequence[Volume], seconds: StepTimer | None = None
    ) -> Iterator[tuple[str, Mask]]:
        """Each class and its post-processed mask (X, Y, Z) on the native grid of the first channel."""
        spent = seconds or StepTimer()
        yield from self.postprocess_masks(self.predict_probabilities(channels, spent), channels[0], spent)

    def predict_probabilities(
        self, channels: Sequence[Volume], spent: StepTimer, *, fine: bool = False
    ) -> ProbabilityMaps:
        """The probability of each class on the native grid, with the gate's, if there is one.

        A single pass is kept in 8 bits or, to be averaged with others later, `fine`, in 16.

        Raises:
            UserError: channels on different grids, or voxels or logits that are no finite numbers.
        """
        weights = [weight for member in self.members for weight in member.pass_weights]
        grid = NetworkGrid.from_volume(channels[0], None)
        maps = ProbabilityMaps(grid, exclusive=self.exclusive, weights=weights, fine=fine)
        inputs: dict[tuple[object, object], NetworkInput] = {}
        for member in self.members:
            with spent.step("normalise"):
                settings = member.data.spacing_mm, member.data.intensity
                if settings not in inputs:
                    inputs = {settings: member.network_input(channels)}
                view = inputs[settings]
                tiling = window_tiling(view, member.inference, member.window, reach=member.reach)
            for network in member.tta_networks:
                layers = accumulate_windows(view, tiling, network, spent)
                with spent.step("restore"):
                    maps.add_pass(layers, view.grid, tiling.box)
        if self.gate:
            maps.gate = self.gate.predictor.predict_probabilities(channels, spent)
        return maps

    def postprocess_masks(
        self,
        maps: ProbabilityMaps,
        first: Volume,
        spent: StepTimer,
        *,
        most: int | None = None,
        changes: Changes | None = None,
    ) -> Iterator[tuple[str, Mask]]:
        """Each class and its post-processed mask (X, Y, Z); masks of exclusive classes are disjoint.

        The changes by each step are added to `changes`, if there is such a dict.

        Raises:
            UserError: a class fills a box of more than `most` voxels, too many to be cleaned.
        """
        claims = self._postprocess_classes(maps, first, spent, most, changes)
        masks = resolve_overlaps(claims, first.voxels.shape) if self.exclusive else (m for _, m in claims)
        yield from zip(self.classes, masks, strict=True)

    def _postprocess_classes(
        self,
        maps: ProbabilityMaps,
        first: Volume,
        spent: StepTimer,
        most: int | None,
        changes: Changes | None,
    ) -> Iterator[tuple[Bytes, Mask]]:
        """Each class's probability in 255ths and its mask, both (X, Y, Z) on the native grid."""
        for number, name in enumerate(self.classes):
            with spent.step("restore"):
                probability = maps.class_probability(number)
            with spent.step("postprocess"):
                if most is not None:
                    self._refuse_too_large(name, probability, most)
                step_input = StepInput.from_probability(
                    probability,
                    image=first.voxels,
                    spacing_mm=first.spacing_mm,
                    slice_axis=maps.grid.slice_axis,
                )
                class_changes = None if changes is None else changes.setdefault(name, [])
                gate = [self.gate.step(maps.gate, name)] if self.gate and maps.gate else []
                mask = apply_steps(step_input, [*self.postprocess, *gate], name, class_changes)
            yield probability, mask

    def _refuse_too_large(self, name: str, probability: Bytes, most: int) -> None:
        candidate = at_least(probability, lowest_threshold(self.postprocess, name))
        if candidate[bounding_box(candidate)].size > most:
            raise UserError(
                f"{name} is found all over the scan; cleaning it takes more memory than --max-memory allows"
            )


def ensemble_member(run: Run, network: WindowNetwork, weight: float | None = None) -> EnsembleMember:
    """A network with the settings of its run's config, and its weight in a weighted mean."""
    config = run.config
    reach = config.network.reach[2]
    return EnsembleMember(network, config.data, config.inference, config.window, reach, weight)


def build_predictor(run: Run, *members: EnsembleMember, gate: PredictorGate | None = None) -> Predictor:
    """A predictor of a run's classes, with its post-processing and a gate, if there is one."""
    return Predictor(members, run.facts.classes, run.config.postprocess, run.facts.exclusive, gate)
