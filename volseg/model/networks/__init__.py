"""The networks: each maps (B, C, X, Y, Z) to logits (B, K, X, Y, Z) and states its stride."""

import math
from typing import TYPE_CHECKING, Annotated

from volseg.model.networks.dynunet import DynUNet
from volseg.model.networks.segresnet import SegResNet
from volseg.model.networks.swinunetr import SwinUNETR
from volseg.model.networks.unet import UNet
from volseg.schema import NamedUnion

if TYPE_CHECKING:
    from torch import nn

__all__ = ["PRIOR", "DynUNet", "Network", "SegResNet", "SwinUNETR", "UNet", "init_prior_bias"]

Network = Annotated[UNet | SegResNet | DynUNet | SwinUNETR, NamedUnion()]
PRIOR = 0.1
"""The probability an untrained network gives every voxel and class."""


def init_prior_bias(network: "nn.Module", outputs: int, *, exclusive: bool) -> None:
    """Set the bias of the last layer so that every class starts at PRIOR.

    Organs fill few voxels; without this the first hundreds of steps only learn that (Lin et al.
    2017, section 4.1). Exclusive classes share PRIOR, lest many of them leave the background none.
    """
    share = PRIOR / outputs if exclusive else PRIOR
    rest = 1 - PRIOR  # of the class itself, or of the background
    layers = [m for m in network.modules() if getattr(m, "out_channels", None) == outputs]
    for layer in reversed(layers):
        if getattr(layer, "bias", None) is not None:
            layer.bias.data.fill_(math.log(share / rest))  # type: ignore[operator]
            return
