"""From native volumes to masks: the one path of validation and of inference. Needs no torch."""

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
"""What each step of cleaning changed, by class."""


@dataclass(frozen=True)
class EnsembleMember:
    """A network and how it wants a scan: its grid and intensities, its windows (X, Y, Z) and flips."""

    network: WindowNetwork
    data: Data
    inference: Inference
    window: Size

    @property
    def tta_networks(self) -> list[WindowNetwork]:
        """One a pass over a scan: the network itself, and mirrored along each choice of its axes."""
        axes = ["xyz".index(name) for name in self.inference.flips]
        mirrored = [c for count in range(1, len(axes) + 1) for c in combinations(axes, count)]
        return [self.network, *(MirroredNetwork(self.network, chosen) for chosen in mirrored)]

    def network_input(self, channels: Sequence[Volume]) -> NetworkInput:
        """A scan as this network sees it.

        Raises:
            UserError: channels on different grids.
        """
        return NetworkInput.from_channels(channels, self.data.spacing_mm, self.data.intensity)


def window_tiling(view: NetworkInput, inference: Inference, window: Size) -> Tiling:
    """The windows over a view's body, evenly placed, or over all of it as MONAI places them."""
    box = view.full_box
    if inference.body_box:
        box = view.grid.covering_box(body_box(view.channels, view.grid.oriented_mm))
    return Tiling(view.grid.shape, box, window, inference.overlap, even=inference.body_box)


@dataclass(frozen=True)
class MirroredNetwork:
    """A network that sees each window mirrored along these axes of X, Y, Z."""

    network: WindowNetwork
    axes: tuple[int, ...]

    def parts(self, windows: Iterator[WeightedWindow]) -> Iterator[Sums]:
        """What its logits add, mirrored back."""
        axes = tuple(axis + 1 for axis in self.axes)
        mirrored = (
            WeightedWindow(np.flip(one.image, axes), np.flip(one.weight, self.axes)) for one in windows
        )
        for part in self.network.parts(mirrored):
            yield np.flip(part, axes)

    def __str__(self) -> str:
        return str(self.network)


@dataclass(frozen=True)
class Predictor:
    """Trained networks with all it takes to apply them to a native volume.

    Several members, and mirrored views, are averaged: their probabilities, on the native grid.
    """

    members: tuple[EnsembleMember, ...]
    classes: tuple[str, ...]
    postprocess: tuple[Step, ...]
    exclusive: bool

    def predict_masks(
        self, channels: Sequence[Volume], seconds: StepTimer | None = None
    ) -> Iterator[tuple[str, Mask]]:
        """Each class and its cleaned mask (X, Y, Z) on the native grid of the first channel."""
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
        views: dict[tuple[object, object], NetworkInput] = {}
        for member in self.members:
            with spent.step("normalise"):
                sees = member.data.spacing_mm, member.data.intensity
                if sees not in views:
                    views = {sees: member.network_input(channels)}
                view = views[sees]
                windows = window_tiling(view, member.inference, member.window)
            for network in member.tta_networks:
                layers = spent.time_items("blend", accumulate_windows(view, windows, network, spent))
                with spent.step("restore"):
                    maps.add_pass(layers, view.grid, windows.box)
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
        """Each class and its mask, cleaned; those of exclusive classes never overlap.

        What each step changed is added to `changes` where it is asked for.

        Raises:
            UserError: a class fills a box of more than `most` voxels, too many to be cleaned.
        """
        claims = self._postprocess_classes(maps, first, spent, most, changes)
        apart = resolve_overlaps(claims, first.voxels.shape) if self.exclusive else (m for _, m in claims)
        yield from zip(self.classes, apart, strict=True)

    def _postprocess_classes(
        self,
        maps: ProbabilityMaps,
        first: Volume,
        spent: StepTimer,
        most: int | None,
        changes: Changes | None,
    ) -> Iterator[tuple[Bytes, Mask]]:
        """Each class's evidence in 8 bits and its cleaned mask, both (X, Y, Z) on the native grid."""
        for number, name in enumerate(self.classes):
            with spent.step("restore"):
                probability = maps.class_probability(number)
            with spent.step("postprocess"):
                if most is not None:
                    self._refuse_too_large(name, probability, most)
                told = None if changes is None else changes.setdefault(name, [])
                mask = apply_steps(
                    StepInput.from_probability(
                        probability,
                        image=first.voxels,
                        spacing_mm=first.spacing_mm,
                        slice_axis=maps.grid.slice_axis,
                    ),
                    self.postprocess,
                    name,
                    told,
                )
            yield probability, mask

    def _refuse_too_large(self, name: str, probability: Bytes, most: int) -> None:
        found = at_least(probability, lowest_threshold(self.postprocess, name))
        if found[bounding_box(found)].size > most:
            raise UserError(
                f"{name} is found all over the scan; cleaning it takes more memory than --max-memory allows"
            )


def ensemble_member(run: Run, network: WindowNetwork) -> EnsembleMember:
    """A network of a run, with all that the run's config says of how it sees a scan."""
    config = run.config
    return EnsembleMember(network, config.data, config.inference, config.window)


def build_predictor(run: Run, *members: EnsembleMember) -> Predictor:
    """Members with a run's classes and post-processing, to be applied to a native volume."""
    facts = run.facts
    return Predictor(members, facts.classes, run.config.postprocess, facts.exclusive)
