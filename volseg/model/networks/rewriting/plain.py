"""Modules of torch and MONAI in place of ours, which only training and torch's own inference need."""

from torch import nn

from volseg.model.networks.instance_norm import InstanceNorm


def plain(network: nn.Module) -> nn.Module:
    """The network with MONAI's Swin stages and torch's instance norms; its weights stay as they are."""
    from monai.networks.nets.swin_unetr import BasicLayer
    from monai.networks.nets.swin_unetr import WindowAttention as MonaiAttention

    from volseg.model.networks.swin.attention import Layer, WindowAttention

    original: dict[type[nn.Module], type[nn.Module]] = {
        InstanceNorm: nn.InstanceNorm3d,
        Layer: BasicLayer,
        WindowAttention: MonaiAttention,
    }
    for module in network.modules():
        module.__class__ = original.get(type(module), type(module))
    return network
