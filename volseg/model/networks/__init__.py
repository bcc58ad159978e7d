"""Networks from (B, C, X, Y, Z) to logits (B, K, X, Y, Z); each states the stride of its input."""

import math
from itertools import islice
from typing import TYPE_CHECKING, Annotated

from volseg.model.networks.dynunet import DynUNet
from volseg.model.networks.interface import NetworkSection
from volseg.model.networks.mednext import MedNeXt
from volseg.model.networks.resenc import ResEnc
from volseg.model.networks.segresnet import SegResNet
from volseg.model.networks.swinunetr import SwinUNETR
from volseg.model.networks.unet import UNet
from volseg.model.networks.unet25d import UNet25D
from volseg.schema import NamedUnion

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "PRIOR",
    "DynUNet",
    "MedNeXt",
    "Network",
    "ResEnc",
    "SegResNet",
    "SwinUNETR",
    "UNet",
    "UNet25D",
    "init_prior_bias",
]

Network = Annotated[
    UNet | SegResNet | DynUNet | ResEnc | MedNeXt | SwinUNETR | UNet25D,
    NamedUnion("volseg.networks", NetworkSection, ("stride", "build")),
]
PRIOR = 0.1
"""The probability of every voxel and class in an untrained network."""


def init_prior_bias(network: "nn.Module", outputs: int, *, exclusive: bool) -> None:
    """Set the bias of the layers that give logits so that every class starts at PRIOR.

    Classes fill few voxels; without this the first hundreds of steps learn nothing else (Lin et al. 2017,
    section 4.1). Exclusive classes share PRIOR, lest many of them leave the background none.
    """
    probability = PRIOR / outputs if exclusive else PRIOR
    for layer in _output_layers(network, outputs):
        layer.bias.data.fill_(math.log(probability / (1 - PRIOR)))  # type: ignore[operator]


def _output_layers(network: "nn.Module", outputs: int) -> "list[nn.Module]":
    """The layers that give logits: those that a network names, else its last one with a bias."""
    if hasattr(network, "output_layers"):
        layers: list[nn.Module] = network.output_layers()  # type: ignore[operator]
        return layers
    fitting = (
        layer
        for layer in reversed(list(network.modules()))
        if getattr(layer, "out_channels", None) == outputs and getattr(layer, "bias", None) is not None
    )
    return list(islice(fitting, 1))
