"""The engines: each applies a trained network to windows, by its own library and from its own format."""

from typing import Annotated

from volseg.model.engines.interface import ConversionError, Format, Model, Running, Work
from volseg.model.engines.onnxruntime import OnnxRuntime
from volseg.model.engines.openvino import OpenVINO
from volseg.model.engines.torch import Torch
from volseg.schema import Choice

__all__ = [
    "ConversionError",
    "Engine",
    "Format",
    "Model",
    "OnnxRuntime",
    "OpenVINO",
    "Running",
    "Torch",
    "Work",
]

Engine = Annotated[Torch | OpenVINO | OnnxRuntime, Choice()]
