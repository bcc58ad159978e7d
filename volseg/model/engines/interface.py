"""The interface of engines: windows in, weighted logits out, both where the network computes."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from volseg.errors import UserError
from volseg.schema import Section, Size

if TYPE_CHECKING:
    from torch import nn

Floats = npt.NDArray[np.float32]
Sums = npt.NDArray[np.int16]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Format = Literal["torch", "openvino", "onnx"]
STEPS = 1024
"""Steps of a sum in one logit."""
LARGEST = 31.5
"""Logits are clamped to it, so that sums fit into 16 bits; its sigmoid is within 1e-13 of 1."""


Array = Any
"""An array where the engine computes: numpy's or torch's, whose operators and slices are alike."""


class WeightedWindow(NamedTuple):
    """The image (C, X, Y, Z) in a window, and the weights (X, Y, Z) of its voxels, in STEPS."""

    image: Array
    weight: Array


class WeightedLogits(NamedTuple):
    """The weighted logits (K, X, Y, Z) of a window, rounded, in 16 bits, and the sum of its logits."""

    steps: Array
    total: Array


class Layer(NamedTuple):
    """Finished planes: the first, their sums of logits (K, X, Y, planes), and of all logits so far."""

    first: int
    sums: Array
    total: Array


class Arrays(Protocol):
    """The way of arrays to where a network computes, and back."""

    def upload(self, array: npt.NDArray[Any]) -> Array:
        """A numpy array as the network takes it; they may share memory."""
        ...

    def flip(self, array: Array, axes: tuple[int, ...]) -> Array:
        """An array mirrored along some axes."""
        ...

    def download(self, layers: Iterator[Layer]) -> Iterator[Layer]:
        """The same layers as numpy's arrays, each valid until the next one.

        A device may be given the windows of the next layer before a layer is waited for.
        """
        ...


class NumpyArrays:
    """Arrays of a network that takes numpy's."""

    def upload(self, array: npt.NDArray[Any]) -> Array:
        """The same array."""
        return array

    def flip(self, array: Array, axes: tuple[int, ...]) -> Array:
        """A mirrored view."""
        return np.flip(array, axes)

    def download(self, layers: Iterator[Layer]) -> Iterator[Layer]:
        """The same layers."""
        return layers


class WindowNetwork(Protocol):
    """A network for the sliding window."""

    @property
    def arrays(self) -> Arrays:
        """Where its windows and their logits are."""
        ...

    def parts(self, windows: Iterator[WeightedWindow]) -> Iterator[WeightedLogits]:
        """The weighted logits of each window, in order, as `weighted_logits` defines them.

        Windows are read as they are needed; an array that was yielded is valid until the next one.
        """
        ...

    def __str__(self) -> str:
        """Library, device and arithmetic: `torch, cpu (2 threads), bfloat16`."""
        ...


def weighted_logits(logits: Floats, weight: Floats) -> WeightedLogits:
    """Logits (K, X, Y, Z) times weights (X, Y, Z), clamped and rounded: the reference of every engine."""
    with np.errstate(invalid="ignore"):  # the total tells of logits that are no numbers
        steps: Sums = np.rint(np.clip(logits, -LARGEST, LARGEST) * weight).astype(np.int16)
    return WeightedLogits(steps, logits.sum())


def check_finite(total: float, network: WindowNetwork) -> None:
    """Raise a UserError unless the sum of a network's logits is finite."""
    if not math.isfinite(total):
        raise UserError(
            f"the network's output is not finite by {network}; set train.precision: fp32 in the run's "
            "config.yaml"
        )


class ConversionError(UserError):
    """A network that can't be converted to an engine's format."""


@dataclass(frozen=True)
class TrainedModel:
    """A trained network for windows (inputs, X, Y, Z), available in some formats.

    `network` builds it in torch; `file` gives its OpenVINO or ONNX file, converted first where there is
    none. Both may raise a UserError.
    """

    formats: tuple[Format, ...]
    window: Size
    inputs: int
    precision: Precision
    network: "Callable[[], nn.Module]"
    file: Callable[[Format], Path]


class RunningNetwork(WindowNetwork, Protocol):
    """A network that an engine has loaded; `kind` is its library and arithmetic."""

    kind: str


@dataclass(frozen=True)
class EngineOptions:
    """Processor cores, windows at a time (None: the engine's default), and torch's options.

    They are whether it compiles first, and its device by name (None: a GPU if there is one).
    """

    cores: int
    at_once: int | None = None
    compiled: bool = False
    device: str | None = None


class LibraryEngine(Section):
    """An engine, named as its library; `load` raises a UserError for a network or file it can't use.

    `reads` are the formats it takes, `on_devices` says whether it runs on more than the CPU.
    """

    name: str
    reads: ClassVar[tuple[Format, ...]]
    on_devices: ClassVar[bool] = False

    @property
    def missing(self) -> str:
        """The library, if it is not installed; else empty."""
        return "" if find_spec(self.name) else self.name
