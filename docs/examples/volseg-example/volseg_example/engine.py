"""An engine: torch in double precision, to see how much rounding matters."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from volseg.model.engines.interface import (
    EngineOptions,
    Format,
    LibraryEngine,
    NumpyArrays,
    TrainedModel,
    WeightedLogits,
    WeightedWindow,
    weighted_logits,
)

if TYPE_CHECKING:
    from torch import nn


class Float64(LibraryEngine):
    """PyTorch on the CPU in double precision: slow, and without rounding."""

    name: Literal["float64"] = "float64"
    reads: ClassVar[tuple[Format, ...]] = ("torch",)

    @property
    def missing(self) -> str:
        """What must be installed first: nothing beside volseg."""
        return ""

    def load(self, model: TrainedModel, work: EngineOptions) -> "Float64Network":
        """The network in double precision."""
        del work
        return Float64Network(model.network().eval().double())


class Float64Network:
    """A network that takes one window at a time."""

    arrays = NumpyArrays()
    kind = "float64"

    def __init__(self, network: "nn.Module") -> None:
        self._network = network

    def parts(self, windows: Iterator[WeightedWindow]) -> Iterator[WeightedLogits]:
        """The weighted logits of each window, in order."""
        import torch

        for image, weight in windows:
            with torch.inference_mode():
                logits = self._network(torch.from_numpy(np.ascontiguousarray(image))[None].double())
            yield weighted_logits(logits[0].float().numpy(), weight)

    def __str__(self) -> str:
        return "torch, cpu, float64"
