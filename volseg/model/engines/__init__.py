"""Engines: each applies a trained network to windows by one library, from that library's file format."""

from typing import Annotated

from volseg.model.engines.interface import (
    ConversionError,
    EngineOptions,
    Format,
    LibraryEngine,
    RunningNetwork,
    TrainedModel,
)
from volseg.model.engines.onnxruntime import OnnxRuntime
from volseg.model.engines.openvino import OpenVINO
from volseg.model.engines.torch import Torch
from volseg.schema import NamedUnion

__all__ = [
    "ConversionError", "Engine", "EngineOptions", "Format", "LibraryEngine", "OnnxRuntime", "OpenVINO",
    "RunningNetwork", "Torch", "TrainedModel",
]  # fmt: skip

Engine = Annotated[
    Torch | OpenVINO | OnnxRuntime, NamedUnion("volseg.engines", LibraryEngine, ("reads", "load"))
]
