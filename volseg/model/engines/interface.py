"""What every engine starts from."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from volseg.errors import UserError
from volseg.inference.sliding_window import Network
from volseg.model.settings import Precision, Size

if TYPE_CHECKING:
    from torch import nn

Format = Literal["torch", "openvino", "onnx"]


class ConversionError(UserError):
    """A network that can't be had in an engine's format."""


@dataclass(frozen=True)
class Model:
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


class Running(Network, Protocol):
    """A network ready to be slid over scans; `kind` is its library and arithmetic."""

    kind: str


@dataclass(frozen=True)
class Work:
    """How an engine works: on so many cores, on so many windows at a time (None: as it thinks best).

    `compiled` asks torch to compile the network first.
    """

    cores: int
    at_once: int | None = None
    compiled: bool = False
