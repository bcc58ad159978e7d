"""What every engine starts from."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from volseg.errors import UserError
from volseg.schema import Size

if TYPE_CHECKING:
    from torch import nn

Floats = npt.NDArray[np.float32]
Sums = npt.NDArray[np.int16]
STEPS = 1024
"""Steps of a sum in one logit."""
LARGEST = 31.5
"""Logits beyond it count as this, so sums stay within 16 bits; it is within 1e-13 of certainty."""


class WeightedWindow(NamedTuple):
    """An image (C, X, Y, Z) in a window, and what each of its voxels counts, in STEPS, (X, Y, Z)."""

    image: Floats
    weight: Floats


class WindowNetwork(Protocol):
    """What is slid over a scan."""

    def parts(self, windows: Iterator[WeightedWindow]) -> Iterator[Sums]:
        """What each window adds to the sums (K, X, Y, Z), in order: its logits, `counted`.

        Windows are asked for as they are needed; what is returned is valid until the next is asked for.

        Raises:
            UserError: logits that are no finite numbers.
        """
        ...

    def __str__(self) -> str:
        """By what, on what and in which arithmetic: `torch, cpu (2 threads), bfloat16`."""
        ...


def weighted_logits(logits: Floats, weight: Floats, by: WindowNetwork) -> Sums:
    """What logits (K, X, Y, Z) add, by what their voxels count (X, Y, Z): every engine's reference.

    Raises:
        UserError: they are no finite numbers.
    """
    check_finite(float(logits.sum()), by)
    part: Sums = np.rint(np.clip(logits, -LARGEST, LARGEST) * weight).astype(np.int16)
    return part


def check_finite(total: float, by: WindowNetwork) -> None:
    """Judge a network's logits by their sum.

    Raises:
        UserError: one of them is no finite number.
    """
    if not math.isfinite(total):
        raise UserError(
            f"the network's output is not finite by {by}; set train.precision: fp32 in the run's config.yaml"
        )


Precision = Literal["auto", "fp32", "bf16", "fp16"]
Format = Literal["torch", "openvino", "onnx"]


class ConversionError(UserError):
    """A network that can't be had in an engine's format."""


@dataclass(frozen=True)
class TrainedModel:
    """A trained network, to be had in these formats.

    `network` builds it in torch; `file` is its OpenVINO or ONNX file, made first where there is none.
    Both may raise a UserError. It maps windows (C, X, Y, Z) of this size, with `inputs` channels.
    """

    formats: tuple[Format, ...]
    window: Size
    inputs: int
    precision: Precision
    network: "Callable[[], nn.Module]"
    file: Callable[[Format], Path]


class RunningNetwork(WindowNetwork, Protocol):
    """A network ready to be slid over scans; `kind` is its library and arithmetic."""

    kind: str


@dataclass(frozen=True)
class EngineOptions:
    """How an engine works: on so many cores, on so many windows at a time (None: as it thinks best).

    `compiled` asks torch to compile the network first.
    """

    cores: int
    at_once: int | None = None
    compiled: bool = False
