"""Weights that others left: read from a file, and copied into a network as far as they fit."""

import hashlib
import io
import math
import pickle
import re
import warnings
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from volseg.errors import UserError
from volseg.schema import Section

WRAPPERS = ("state_dict", "model_state_dict", "network_weights", "network", "model", "net")
"""Where checkpoints keep the weights: Lightning, PyTorch's tutorials, nnU-Net, volseg, MONAI."""
ADDED = ("", "swinViT.")
"""What may stand before the file's names here: MONAI's self-supervised encoders go without it."""
DEPTH = 4
"""The most parts of a name that may be a wrapper's: `model._orig_mod.module.` has three."""
LEAST = 0.01
"""The share of the parameters below which it's another network: small tensors fit by chance."""
RIGHT = "expected a state dict saved by torch.save, or .safetensors"


@dataclass(frozen=True)
class PretrainedWeights:
    """The tensors of a file, by name, and the SHA-256 of the very bytes that were read."""

    file: Path
    sha256: str
    tensors: dict[str, Tensor]


class ShapeMismatch(Section):
    """A tensor of the network that has another shape in the file."""

    name: str
    there: tuple[int, ...]
    here: tuple[int, ...]


class LoadResult(Section):
    """What became of each tensor; `extra` has the file's names, all else the network's.

    A tensor that the network knows by two names is told by the first. `dropped` and `added` are the
    leading parts of the file's names without and with which they fit.
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
    """The weights in a file; of PyTorch's only what `weights_only=True` reads, so no code is run.

    Raises:
        UserError: it can't be read, or there are no weights in it.
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
        UserError: nothing fits, or values that are no numbers; the network is left as it was.
    """
    names, loaded = _match_tensors(network, weights)
    stored = network.state_dict()  # shares its memory with the network
    with torch.no_grad():
        for theirs, ours in names.items():
            stored[ours].copy_(weights.tensors[theirs])
    return loaded


def check_weights(network: nn.Module, weights: PretrainedWeights) -> None:
    """Raise what `start` would, and change nothing.

    Raises:
        UserError: nothing fits, or values that are no numbers.
    """
    _match_tensors(network, weights)


def _match_tensors(network: nn.Module, weights: PretrainedWeights) -> tuple[dict[str, str], LoadResult]:
    """The file's names that fit with the network's first name of each, and what became of all."""
    stored = network.state_dict(keep_vars=True)
    first: dict[int, str] = {}
    ours = {name: first.setdefault(id(tensor), name) for name, tensor in stored.items()}
    spelt = _NameMapping.best_match(weights.tensors, ours)
    known = {theirs: ours[name] for theirs, name in spelt.names.items()}
    names, wrong = {}, {}
    for theirs, name in known.items():
        there, here = tuple(weights.tensors[theirs].shape), tuple(stored[name].shape)
        if there == here:
            names[theirs] = name
        else:
            wrong[name] = ShapeMismatch(name=name, there=there, here=here)
    found = set(names.values())
    sizes = {name: _parameter_count(stored[name]) for name in first.values()}
    loaded = LoadResult(
        parameters=sum(sizes[name] for name in found),
        parameters_in_all=sum(sizes.values()),
        loaded=tuple(name for name in first.values() if name in found),
        missing=tuple(name for name in first.values() if name not in found | wrong.keys()),
        extra=tuple(name for name in weights.tensors if name not in known),
        wrong_shape=tuple(wrong[name] for name in first.values() if name in wrong.keys() - found),
        dropped=spelt.dropped,
        added=spelt.added,
    )
    _refuse_poor_match(weights, loaded)
    broken = [name for name in names if not torch.isfinite(weights.tensors[name]).all()]
    if broken:
        raise UserError(f"{weights.file}: NaN or infinity in {_join_few(broken)}; give an earlier checkpoint")
    return names, loaded


def _refuse_poor_match(weights: PretrainedWeights, loaded: LoadResult) -> None:
    """Raise where loading would be worth nothing."""
    if loaded.parameters >= LEAST * loaded.parameters_in_all:
        return
    if loaded.wrong_shape:
        largest = sorted(loaded.wrong_shape, key=lambda one: -math.prod(one.here))
        shapes = "; ".join(f"{one.name} is {shape_mismatch_text(one)}" for one in largest[:3])
        why = f"names are the network's, but shapes are not ({shapes})"
    else:
        there, here = _join_few(weights.tensors), _join_few([*loaded.missing, *loaded.loaded])
        why = f"names are not the network's (there: {there}; here: {here})"
    raise UserError(f"{weights.file}: {why}; give weights of such a network, or set network: to theirs")


def _parameter_count(tensor: Tensor) -> int:
    return tensor.numel() if isinstance(tensor, nn.Parameter) else 0


def shape_mismatch_text(one: ShapeMismatch) -> str:
    """E.g. `3x16x1 there, 2x16x1 here`."""
    there, here = ("x".join(map(str, shape)) or "one number" for shape in (one.there, one.here))
    return f"{there} there, {here} here"


@dataclass(frozen=True)
class _NameMapping:
    """How the file spells the network's names: file's name to network's, for all that are known."""

    names: dict[str, str]
    dropped: str = ""
    added: str = ""

    @classmethod
    def best_match(cls, theirs: Iterable[str], ours: Collection[str]) -> "_NameMapping":
        """The one that makes most names known, of equals the one that changes least.

        Any leading part may be a wrapper's (`module.` of DDP, `_orig_mod.` of torch.compile, what a
        Lightning module calls its network), so it's tried and not looked up.
        """
        theirs = list(theirs)
        parts = [name.split(".")[:-1] for name in theirs]
        heads = [
            ".".join(part[:depth]) + "."
            for depth in range(1, DEPTH + 1)
            for part in parts
            if len(part) >= depth
        ]
        found = cls({})
        for dropped in dict.fromkeys(["", *heads]):
            for added in ADDED:
                spelt = {
                    name: _swin_vit_name(added + name.removeprefix(dropped), ours)
                    for name in theirs
                    if name.startswith(dropped)
                }
                names = {name: here for name, here in spelt.items() if here in ours}
                if len(names) > len(found.names):
                    found = cls(names, dropped, added)
        return found


def _swin_vit_name(name: str, ours: Collection[str]) -> str:
    """MONAI's self-supervised SwinViT calls `linear1` and `linear2` of its blocks `fc1` and `fc2`."""
    return name if name in ours else name.replace(".mlp.fc", ".mlp.linear")


def _state_dict(values: Any, depth: int = 3) -> dict[str, Tensor]:
    """The tensors by name in a checkpoint, inside its wrappers; empty where there are none."""
    if not (isinstance(values, dict) and depth):
        return {}
    for wrapper in WRAPPERS:
        found = _state_dict(values.get(wrapper), depth - 1)
        if found:
            return found
    return {
        name: value for name, value in values.items() if isinstance(name, str) and isinstance(value, Tensor)
    }


def _read_safetensors(file: Path, data: bytes) -> Any:
    try:
        return load_safetensors(data)
    except SafetensorError as error:
        raise UserError(f"{file}: damaged, or not safetensors ({error}); {RIGHT}") from error


def _read_torch(file: Path, data: bytes) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of TorchScript, which is told below
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
    listed = list(names)
    return ", ".join(listed[:3]) + (", ..." if len(listed) > 3 else "")
