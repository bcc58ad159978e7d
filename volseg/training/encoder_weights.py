"""ImageNet weights of an EfficientNet in a local file, copied into the encoder of a network."""

import itertools
import logging
import re
from collections.abc import Callable, Collection
from pathlib import Path

import torch
from torch import Tensor, nn

from volseg.errors import UserError
from volseg.training.pretrained_weights import read_weights

log = logging.getLogger(__name__)
RIGHT = "give ImageNet weights of network.backbone, in the names of timm or EfficientNet-PyTorch"
STEM = "_conv_stem.weight"
"""MONAI's name of the first convolution, the only one that depends on the channels of the input."""
BLOCK = re.compile(r"_blocks\.(\d+)\.(\d+)\.(\w+)\.(\w+)")
"""MONAI's name of a tensor: stage, block (counted over all stages), layer and kind."""
PREFIXES = ("", "encoder.", "module.")
TIMM = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_se_reduce": "se.conv_reduce",
    "_se_expand": "se.conv_expand",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
"""The names of timm's layers of a block, by MONAI's."""
TIMM_FIRST = TIMM | {"_project_conv": "conv_pw", "_bn1": "bn1", "_bn2": "bn2"}
"""The same for blocks that do not expand, which are those of the first stage."""


def load_encoder(network: nn.Module, file: Path) -> None:
    """Copy all weights of a network's encoder from a file.

    Raises:
        UserError: as by `match_encoder`; the network is not changed.
    """
    stored = network.get_submodule("encoder").state_dict()  # shares its memory with the network
    with torch.no_grad():
        for name, value in match_encoder(network, file).items():
            stored[name].copy_(value)
    log.info("note: the encoder starts from the weights of %s", file)


def match_encoder(network: nn.Module, file: Path) -> dict[str, Tensor]:
    """The weights of a network's encoder in a file, by the encoder's names.

    The file's names are MONAI's, EfficientNet-PyTorch's or timm's. The first convolution has the sum of its
    weights over the file's channels (red, green and blue), divided by the number of the network's, so that
    slices that are all alike give what a grey picture gave.

    Raises:
        UserError: the file can't be read, or lacks a tensor of the encoder.
    """
    tensors = read_weights(file).tensors
    encoder = network.get_submodule("encoder").state_dict()
    wanted = {name: value for name, value in encoder.items() if value.is_floating_point()}
    names = _names_in(tensors, wanted)
    lacking = [names[name] for name in wanted if names[name] not in tensors]
    if lacking:
        count = f"{len(lacking)} of the encoder's {len(wanted)} tensors"
        raise UserError(f"{file}: lacks {count} ({lacking[0]}); {RIGHT}")
    found = {name: _fitted(tensors[names[name]], like, name) for name, like in wanted.items()}
    for name, value in wanted.items():
        if found[name].shape != value.shape:
            there, here = ("x".join(map(str, one.shape)) for one in (found[name], value))
            raise UserError(f"{file}: {names[name]} is {there} there and {here} in the encoder; {RIGHT}")
        if not torch.isfinite(found[name]).all():
            raise UserError(f"{file}: NaN or infinity in {names[name]}; copy or download the file again")
    return found


def _flat_name(name: str, _: dict[str, int]) -> str:
    """EfficientNet-PyTorch's name of a tensor, whose blocks are not grouped in stages."""
    return re.sub(r"^_blocks\.\d+\.", "_blocks.", name)


def _timm_name(name: str, first_blocks: dict[str, int]) -> str:
    """Timm's name of a tensor, whose blocks are counted anew in each stage."""
    match = BLOCK.fullmatch(name)
    if match is None:
        return name.replace("_conv_stem", "conv_stem").replace("_bn0", "bn1")
    stage, block, layer, kind = match.groups()
    layers = TIMM if int(stage) else TIMM_FIRST
    return f"blocks.{stage}.{int(block) - first_blocks[stage]}.{layers[layer]}.{kind}"


NAMINGS: tuple[Callable[[str, dict[str, int]], str], ...] = (lambda name, _: name, _flat_name, _timm_name)
"""The names of MONAI, EfficientNet-PyTorch and timm, by MONAI's name and the first block of each stage."""


def _names_in(tensors: Collection[str], wanted: Collection[str]) -> dict[str, str]:
    """The file's name of each tensor of the encoder, in the naming of which the file knows the most."""
    blocks = [match.group(1, 2) for match in map(BLOCK.fullmatch, wanted) if match]
    first = {stage: min(int(block) for one, block in blocks if one == stage) for stage, _ in blocks}
    namings = [
        {name: prefix + rename(name, first) for name in wanted}
        for prefix, rename in itertools.product(PREFIXES, NAMINGS)
    ]
    return max(namings, key=lambda names: len(set(names.values()).intersection(tensors)))


def _fitted(value: Tensor, like: Tensor, name: str) -> Tensor:
    """A file's tensor, the first convolution's for the channels that the network has."""
    if name != STEM or value.ndim != like.ndim or value.shape[1] == like.shape[1]:
        return value
    return (value.sum(1, keepdim=True) / like.shape[1]).expand(-1, like.shape[1], -1, -1)
