"""Pretrained weights: read from a file, and copied into a network as far as they fit."""

import hashlib
import io
import itertools
import math
import pickle
import re
import warnings
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from volseg.errors import UserError
from volseg.schema import Section

WRAPPERS = ("state_dict", "model_state_dict", "network_weights", "network", "model", "net")
"""Keys of the weights in checkpoints: Lightning, PyTorch's tutorials, nnU-Net, volseg, MONAI."""
ADDED = ("", "swinViT.")
"""Prefixes that the file's names may lack: MONAI's self-supervised encoders have no `swinViT.`."""
DEPTH = 4  # parts of a name that are tried as a wrapper's prefix: `model._orig_mod.module.` has three
LEAST = 0.01  # share of the parameters that must fit at least: small tensors fit by chance
RIGHT = "expected a state dict saved by torch.save, or .safetensors"


@dataclass(frozen=True)
class PretrainedWeights:
    """The tensors of a file by name, and the SHA-256 of the file."""

    file: Path
    sha256: str
    tensors: dict[str, Tensor]


class ShapeMismatch(Section):
    """A tensor with one shape in the file (`there`) and another in the network (`here`)."""

    name: str
    there: tuple[int, ...]
    here: tuple[int, ...]


class LoadResult(Section):
    """The tensors that were loaded or not, by the network's names; `extra` by the file's.

    A tensor with two names in the network goes by the first. The file's names fit without the prefix
    `dropped` and with the prefix `added`.
    """

    parameters: int
    parameters_in_all: int
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    wrong_shape: tuple[ShapeMismatch, ...]
    dropped: str = ""
    added: str = ""


def read_weights(file: Path) -> PretrainedWeights:
    """The weights in a file; `weights_only=True` lets no code of it run.

    Raises:
        UserError: the file can't be read, or has no weights.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: can't be read ({error.strerror}); name another file") from error
    if not data:
        raise UserError(f"{file}: zero bytes; copy or download the file again")
    if data.startswith(b"version https://git-lfs"):
        raise UserError(f"{file}: only git's pointer to the file; fetch it with `git lfs pull`")
    values = _read_safetensors(file, data) if file.suffix == ".safetensors" else _read_torch(file, data)
    tensors = _state_dict(values)
    if not tensors:
        raise UserError(f"{file}: no weights in it{_content_text(values)}; {RIGHT}")
    return PretrainedWeights(file, hashlib.sha256(data).hexdigest(), tensors)


def load_weights(network: nn.Module, weights: PretrainedWeights) -> LoadResult:
    """Copy every tensor whose name and shape fit; the others stay as they are.

    Raises:
        UserError: nothing fits, or values that are no numbers; the network is not changed.
    """
    names, result = match_tensors(network, weights)
    stored = network.state_dict()  # shares its memory with the network
    with torch.no_grad():
        for theirs, ours in names.items():
            stored[ours].copy_(weights.tensors[theirs])
    return result


def match_tensors(network: nn.Module, weights: PretrainedWeights) -> tuple[dict[str, str], LoadResult]:
    """The network's name (the first of several) for each fitting name of the file, and the result of loading.

    Raises:
        UserError: nothing fits, or values that are no numbers.
    """
    stored = network.state_dict(keep_vars=True)
    first: dict[int, str] = {}
    ours = {name: first.setdefault(id(tensor), name) for name, tensor in stored.items()}
    mapping = _map_names(weights.tensors, ours)
    known = {theirs: ours[name] for theirs, name in mapping.names.items()}
    names, wrong = {}, {}
    for theirs, name in known.items():
        there, here = tuple(weights.tensors[theirs].shape), tuple(stored[name].shape)
        if there == here:
            names[theirs] = name
        else:
            wrong[name] = ShapeMismatch(name=name, there=there, here=here)
    fitting = set(names.values())
    sizes = {name: parameter.numel() for name, parameter in network.named_parameters()}
    result = LoadResult(
        parameters=sum(sizes.get(name, 0) for name in fitting),
        parameters_in_all=sum(sizes.values()),
        loaded=tuple(name for name in first.values() if name in fitting),
        missing=tuple(name for name in first.values() if name not in fitting | wrong.keys()),
        extra=tuple(name for name in weights.tensors if name not in known),
        wrong_shape=tuple(wrong[name] for name in first.values() if name in wrong.keys() - fitting),
        dropped=mapping.dropped,
        added=mapping.added,
    )
    _refuse_poor_match(weights, result)
    broken = [name for name in names if not torch.isfinite(weights.tensors[name]).all()]
    if broken:
        raise UserError(f"{weights.file}: NaN or infinity in {_join_few(broken)}; give an earlier checkpoint")
    return names, result


def _refuse_poor_match(weights: PretrainedWeights, result: LoadResult) -> None:
    """Raise where too few parameters fit."""
    if result.parameters >= LEAST * result.parameters_in_all:
        return
    if result.wrong_shape:
        largest = sorted(result.wrong_shape, key=lambda mismatch: -math.prod(mismatch.here))
        shapes = "; ".join(f"{tensor.name} is {shape_mismatch_text(tensor)}" for tensor in largest[:3])
        why = f"names are the network's, but shapes are not ({shapes})"
    else:
        there, here = _join_few(weights.tensors), _join_few([*result.missing, *result.loaded])
        why = f"names are not the network's (there: {there}; here: {here})"
    raise UserError(f"{weights.file}: {why}; give weights of such a network, or set network: to theirs")


def shape_mismatch_text(tensor: ShapeMismatch) -> str:
    """Both shapes, e.g. `3x16x1 there, 2x16x1 here`."""
    there, here = ("x".join(map(str, shape)) or "one number" for shape in (tensor.there, tensor.here))
    return f"{there} there, {here} here"


class _NameMapping(NamedTuple):
    """The network's name for each known name of the file, and the change of prefixes between the two."""

    names: dict[str, str]
    dropped: str
    added: str


def _map_names(theirs: Collection[str], ours: Collection[str]) -> _NameMapping:
    """The mapping with the most known names, of equals the one that changes least.

    Any leading part may be a wrapper's (`module.` of DDP, `_orig_mod.` of torch.compile, the attribute
    of a Lightning module), so all are tried.
    """
    parts = [name.split(".")[:-1] for name in theirs]
    depths = range(1, DEPTH + 1)
    prefixes = [".".join(part[:depth]) + "." for depth in depths for part in parts if len(part) >= depth]

    def mapping(dropped: str, added: str) -> _NameMapping:
        rest = {name: name.removeprefix(dropped) for name in theirs if name.startswith(dropped)}
        names = {name: _swin_vit_name(added + inner, ours) for name, inner in rest.items()}
        return _NameMapping({name: here for name, here in names.items() if here in ours}, dropped, added)

    changes = itertools.product(dict.fromkeys(["", *prefixes]), ADDED)
    return max((mapping(*change) for change in changes), key=lambda mapped: len(mapped.names))


def _swin_vit_name(name: str, ours: Collection[str]) -> str:
    """The name with MONAI's `fc1` and `fc2` of its self-supervised SwinViT as `linear1` and `linear2`."""
    return name if name in ours else name.replace(".mlp.fc", ".mlp.linear")


def _state_dict(values: Any, depth: int = 3) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, taken out of its wrappers; empty where there are none."""
    if not (isinstance(values, dict) and depth):
        return {}
    for wrapper in WRAPPERS:
        if tensors := _state_dict(values.get(wrapper), depth - 1):
            return tensors
    return {key: value for key, value in values.items() if isinstance(key, str) and isinstance(value, Tensor)}


def _read_safetensors(file: Path, data: bytes) -> Any:
    try:
        return load_safetensors(data)
    except SafetensorError as error:
        raise UserError(f"{file}: damaged, or not safetensors ({error}); {RIGHT}") from error


def _read_torch(file: Path, data: bytes) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about TorchScript, which is an error below
            return torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except Exception as error:  # torch raises many kinds for a damaged file
        text = str(error)
        if "TorchScript" in text:
            raise UserError(
                f"{file}: TorchScript, which holds code; give the state dict beside it (a bundle's "
                "models/model.pt), or save its state_dict() by torch.save"
            ) from error
        objects = re.findall(r"GLOBAL (\S+)", text)
        if isinstance(error, pickle.UnpicklingError) and objects:
            raise UserError(
                f"{file}: holds Python objects ({objects[0]}), and reading them may run any code; "
                "save its state dict alone, torch.save(network.state_dict(), ...)"
            ) from error
        raise UserError(f"{file}: damaged, or not a file of PyTorch's; {RIGHT}") from error


def _content_text(values: Any) -> str:
    if not isinstance(values, dict):
        return f" but one {type(values).__name__}"
    return f" but {_join_few(map(str, values))}" if values else ""


def _join_few(names: Iterable[str]) -> str:
    first = list(names)
    return ", ".join(first[:3]) + (", ..." if len(first) > 3 else "")
