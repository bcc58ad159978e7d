"""From a torch network to the files that the other engines read."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from volseg.model.engines.graph_rewriting import rewritten
from volseg.model.engines.interface import ConversionError, Format
from volseg.model.engines.untold import openvino
from volseg.system.files import replacing


def convert(network: nn.Module, shape: Sequence[int], kind: Format, file: Path) -> None:
    """Write a network for windows of this shape (C, X, Y, Z) as an OpenVINO or ONNX file.

    Raises:
        ConversionError: the converter knows no way to say what the network does.
    """
    plain = rewritten(network.eval())
    example = torch.zeros(1, *shape)
    write = _openvino if kind == "openvino" else _onnx
    try:
        with torch.inference_mode(), _quiet():
            write(plain, example, file)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ConversionError(
            f"{file}: the network can't be converted to {kind} ({reason})"
        ) from error


def _openvino(network: nn.Module, example: Tensor, file: Path) -> None:
    library, shape = openvino(), list(example.shape)
    model = library.convert_model(network, example_input=example, input=[shape])
    model.reshape(shape)
    with replacing(file) as temporary:
        library.save_model(model, temporary, compress_to_fp16=False)
        temporary.with_suffix(".bin").replace(file.with_suffix(".bin"))


def _onnx(network: nn.Module, example: Tensor, file: Path) -> None:
    for norm in network.modules():
        if isinstance(norm, nn.InstanceNorm3d) and norm.weight is None:
            norm.weight = nn.Parameter(torch.ones(norm.num_features))  # they tell ONNX the channels
            norm.bias = nn.Parameter(torch.zeros(norm.num_features))
    with replacing(file) as temporary:
        torch.onnx.export(
            network,
            (example,),
            temporary,
            dynamo=False,
            input_names=["image"],
            output_names=["logits"],
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep tracing from warning of what depends on the window's size: that is given."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("nncf").setLevel(logging.ERROR)
        yield
