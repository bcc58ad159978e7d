"""Prediction of probabilities and masks of native volumes, in validation as in inference; needs no torch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from volseg.arrays import bounding_box
from volseg.config.sections import Data, Inference
from volseg.data.preprocessing.body_box import body_box
from volseg.data.preprocessing.grid import NetworkGrid, NetworkInput
from volseg.data.volume import Volume
from volseg.errors import UserError
from volseg.inference.probability_maps import Bytes, ProbabilityMaps
from volseg.inference.sliding_window import Tiling, accumulate_windows
from volseg.model.engines.interface import Sums, WeightedWindow, WindowNetwork
from volseg.postprocessing import Step, StepChange, StepInput, apply_steps, at_least, lowest_threshold
from volseg.postprocessing.pipeline import resolve_overlaps
from volseg.runs.run import Run
from volseg.schema import Size
from volseg.system.timing import StepTimer

Mask = npt.NDArray[np.bool_]
Changes = dict[str, list[StepChange]]
"""The changes by each step of post-processing, by class."""


@dataclass(frozen=True)
class EnsembleMember:
    """A network and its run's settings: grid and intensities, overlap and flips, windows (X, Y, Z)."""

    network: WindowNetwork
    data: Data
    inference: Inference
    window: Size

    @property
    def tta_networks(self) -> list[WindowNetwork]:
        """The network of each pass over a scan: itself, and mirrored along each subset of the flip axes."""
        axes = ["xyz".index(name) for name in self.inference.flips]
        subsets = [subset for n in range(1, len(axes) + 1) for subset in combinations(axes, n)]
        return [self.network, *(MirroredNetwork(self.network, subset) for subset in subsets)]

    def network_input(self, channels: Sequence[Volume]) -> NetworkInput:
        """A scan in the network's orientation, spacing and intensities, (C, X, Y, Z)."""
        return NetworkInput.from_channels(channels, self.data.spacing_mm, self.data.intensity)


def window_tiling(view: NetworkInput, inference: Inference, window: Size) -> Tiling:
    """Evenly placed windows over the body in a scan or, without `body_box`, MONAI's over the whole scan."""
    box = view.full_box
    if inference.body_box:
        box = view.grid.covering_box(body_box(view.channels, view.grid.oriented_mm))
    return Tiling(view.grid.shape, box, window, inference.overlap, even=inference.body_box)


@dataclass(frozen=True)
class MirroredNetwork:
    """A network that is given each window mirrored along some of the axes 0, 1, 2."""

    network: WindowNetwork
    axes: tuple[int, ...]

    def parts(self, windows: Iterator[WeightedWindow]) -> Iterator[Sums]:
        """The weighted logits of each window (K, X, Y, Z), mirrored back."""
        axes = tuple(axis + 1 for axis in self.axes)
        mirrored = (
            WeightedWindow(np.flip(image, axes), np.flip(weight, self.axes)) for image, weight in windows
        )
        for part in self.network.parts(mirrored):
            yield np.flip(part, axes)

    def __str__(self) -> str:
        return str(self.network)


@dataclass(frozen=True)
class Predictor:
    """Trained networks with all that applying them to a native volume takes.

    The probabilities of all members and mirrored passes are averaged on the native grid.
    """

    members: tuple[EnsembleMember, ...]
    classes: tuple[str, ...]
    postprocess: tuple[Step, ...]
    exclusive: bool

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

    def predict_probabilities(self, channels: Sequence[Volume], spent: StepTimer) -> ProbabilityMaps:
        """The probability of each class on the native grid.

        Raises:
            UserError: channels on different grids, or voxels or logits that are no finite numbers.
        """
        passes = sum(len(member.tta_networks) for member in self.members)
        grid = NetworkGrid.from_volume(channels[0], None)
        maps = ProbabilityMaps(grid, exclusive=self.exclusive, passes=passes)
        inputs: dict[tuple[object, object], NetworkInput] = {}
        for member in self.members:
            with spent.step("normalise"):
                settings = member.data.spacing_mm, member.data.intensity
                if settings not in inputs:
                    inputs = {settings: member.network_input(channels)}
                view = inputs[settings]
                tiling = window_tiling(view, member.inference, member.window)
            for network in member.tta_networks:
                layers = spent.time_items("blend", accumulate_windows(view, tiling, network, spent))
                with spent.step("restore"):
                    maps.add_pass(layers, view.grid, tiling.box)
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
                mask = apply_steps(step_input, self.postprocess, name, class_changes)
            yield probability, mask

    def _refuse_too_large(self, name: str, probability: Bytes, most: int) -> None:
        candidate = at_least(probability, lowest_threshold(self.postprocess, name))
        if candidate[bounding_box(candidate)].size > most:
            raise UserError(
                f"{name} is found all over the scan; cleaning it takes more memory than --max-memory allows"
            )


def ensemble_member(run: Run, network: WindowNetwork) -> EnsembleMember:
    """A network with the settings of its run's config."""
    config = run.config
    return EnsembleMember(network, config.data, config.inference, config.window)


def build_predictor(run: Run, *members: EnsembleMember) -> Predictor:
    """A predictor of a run's classes, with its post-processing."""
    return Predictor(members, run.facts.classes, run.config.postprocess, run.facts.exclusive)
