"""Torch's instance norm in place of ours, which OpenVINO can't convert."""

from torch import nn

from volseg.model.networks.instance_norm import InstanceNorm


def plain(network: nn.Module) -> nn.Module:
    """The network, its instance norms turned into torch's; weights and their names stay."""
    for module in network.modules():
        if type(module) is InstanceNorm:
            module.__class__ = nn.InstanceNorm3d  # type: ignore[assignment]
    return network
