"""Networks from (B, C, X, Y, Z) to logits (B, K, X, Y, Z); each states the stride of its input."""

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
"""The probability of every voxel and class in an untrained network."""


def init_prior_bias(network: "nn.Module", outputs: int, *, exclusive: bool) -> None:
    """Set the bias of the last layer so that every class starts at PRIOR (Lin et al. 2017, section 4.1).

    Classes fill few voxels; without this the first hundreds of steps learn nothing else. Exclusive
    classes share PRIOR, lest many of them leave the background none.
    """
    probability = PRIOR / outputs if exclusive else PRIOR
    for layer in reversed(list(network.modules())):
        if getattr(layer, "out_channels", None) == outputs and getattr(layer, "bias", None) is not None:
            layer.bias.data.fill_(math.log(probability / (1 - PRIOR)))  # type: ignore[operator]
            return
