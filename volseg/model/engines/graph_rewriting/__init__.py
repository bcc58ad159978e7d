"""Rewriting of trained networks into modules that compute the same and run faster in OpenVINO on a CPU."""

from copy import deepcopy

from torch import nn

from volseg.model.networks.instance_norm import ChannelsLastInstanceNorm


def rewrite_network(network: nn.Module) -> nn.Module:
    """A copy of a network in evaluation mode that computes the same in fewer and faster operations.

    OpenVINO can convert a trace of the copy, but not of the network itself. Its weights have other names
    and shapes. A trace of a SwinUNETR is for windows of one size.
    """
    from volseg.model.engines.graph_rewriting.block_convolution import (
        BlockConvTranspose,
        is_block_convertible,
    )
    from volseg.model.engines.graph_rewriting.swin import rewrite_swin
    from volseg.model.engines.graph_rewriting.unet import rewrite_unet

    copy = deepcopy(network).eval()
    for module in copy.modules():
        if type(module) is ChannelsLastInstanceNorm:
            module.__class__ = nn.InstanceNorm3d  # type: ignore[assignment]
    rewrite_unet(copy)
    rewrite_swin(copy)
    for parent in list(copy.modules()):
        for name, module in list(parent.named_children()):
            # Kernels that reach no neighbour would gain nothing.
            if is_block_convertible(module) and module.kernel_size != module.stride:
                setattr(parent, name, BlockConvTranspose(module))
    return copy.requires_grad_(False)
