"""Conversion of torch networks to the files of the other engines."""

import hashlib
import logging
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from volseg import __version__
from volseg.errors import OutputError
from volseg.model.engines.interface import ConversionError, Format
from volseg.system import processes
from volseg.system.files import atomic_path, sync_file
from volseg.system.locks import LOCK, folder_lock
from volseg.system.user import user_cache

if TYPE_CHECKING:
    from torch import Tensor, nn

log = logging.getLogger(__name__)
Networks = Callable[[], "nn.Module"]
"""A function that gives a network with its weights; it can be pickled."""
SUFFIXES: dict[Format, str] = {"openvino": ".xml", "onnx": ".onnx"}


def convert_network(network: "nn.Module", shape: Sequence[int], kind: Format, file: Path) -> None:
    """Write a network for windows of this shape (C, X, Y, Z) as an OpenVINO or ONNX file.

    Raises:
        ConversionError: the network does what the converter can't express.
    """
    import torch

    from volseg.model.engines.graph_rewriting import rewrite_network

    plain = rewrite_network(network.eval())
    example = torch.zeros(1, *shape)
    write = _write_openvino if kind == "openvino" else _write_onnx
    try:
        with torch.inference_mode(), _quiet_tracing():
            write(plain, example, file)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ConversionError(f"{file}: the network can't be converted to {kind} ({reason})") from error


def _write_openvino(network: "nn.Module", example: "Tensor", file: Path) -> None:
    from volseg.model.engines.openvino import import_openvino

    library, shape = import_openvino(), list(example.shape)
    model = library.convert_model(network, example_input=example, input=[shape])
    model.reshape(shape)
    with atomic_path(file) as temporary:
        try:
            library.save_model(model, temporary, compress_to_fp16=False)
        except RuntimeError as error:
            if "iostream" not in str(error):
                raise
            raise OutputError(
                f"{file}: can't be written, perhaps since the disk is full; free some space and run the "
                "command again"
            ) from error
        sync_file(temporary.with_suffix(".bin"))
        temporary.with_suffix(".bin").replace(file.with_suffix(".bin"))


def _write_onnx(network: "nn.Module", example: "Tensor", file: Path) -> None:
    import torch
    from torch import nn

    for norm in network.modules():
        if isinstance(norm, nn.InstanceNorm3d) and norm.weight is None:
            norm.weight = nn.Parameter(torch.ones(norm.num_features))  # they tell ONNX the channels
            norm.bias = nn.Parameter(torch.zeros(norm.num_features))
    with atomic_path(file) as temporary:
        torch.onnx.export(
            network, (example,), temporary, dynamo=False, input_names=["image"], output_names=["logits"]
        )


@contextmanager
def _quiet_tracing() -> Iterator[None]:
    """No warnings that a trace depends on the size of its windows: that is given."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("nncf").setLevel(logging.ERROR)
        yield


def converted_file(
    folder: Path, kind: Format, *, digest: str, network: Networks, shape: Sequence[int]
) -> Path:
    """The file of a run's network in an engine's format, converted first where there is none.

    It lies in the run's folder, or in the user's cache where that is read-only and has none. `digest` is
    the hash of the weights, `shape` that of the windows (C, X, Y, Z); torch is loaded in another process
    only.

    Raises:
        UserError: no weights, or a network that can't be converted.
    """
    key = f"{digest} {tuple(shape[1:])} {__version__}"
    name = hashlib.sha256(key.encode()).hexdigest()[:16]
    file = folder / kind / f"{name}{SUFFIXES[kind]}"
    if not file.is_file() and not os.access(folder, os.W_OK):
        file = user_cache() / "networks" / digest[:16] / kind / file.name
    if not file.is_file():
        with folder_lock(file.parent):  # else two would remove each other's
            if not file.is_file():
                log.info("%s: converting the network for %s, once", folder, kind)
                _remove_others(file.parent)
                convert_in_subprocess(folder, kind, file, network=network, shape=shape)
    return file


def _remove_others(folder: Path) -> None:
    """Remove networks of other weights, and what earlier versions compiled of them."""
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name != LOCK:
            entry.unlink(missing_ok=True)


def convert_in_subprocess(
    folder: Path, kind: Format, file: Path, *, network: Networks, shape: Sequence[int]
) -> None:
    """Write a run's network in an engine's format, in a process of its own."""
    try:
        processes.run_in_subprocess(_build_and_convert, (network, shape, kind, file))
    except BrokenProcessPool as error:
        raise ConversionError(
            f"{folder}: the process that converted the network was killed, perhaps for want of memory"
        ) from error


def _build_and_convert(order: tuple[Networks, Sequence[int], Format, Path]) -> None:
    network, shape, kind, file = order
    convert_network(network(), shape, kind, file)
