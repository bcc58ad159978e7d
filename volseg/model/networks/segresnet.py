"""SegResNet, a residual encoder-decoder."""

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, PositiveInt, model_validator

from volseg.model.networks.interface import NetworkSection
from volseg.model.networks.strides import Dropout, Stride, total_stride

if TYPE_CHECKING:
    from torch import nn

GROUPS = 8
NORMS: dict[str, str | tuple[str, dict[str, Any]]] = {
    "group": ("group", {"num_groups": GROUPS}),
    "batch": "batch",
    "instance": ("instance", {"affine": True}),
}
ACTIVATIONS: dict[str, str | tuple[str, dict[str, Any]]] = {
    "relu": ("relu", {"inplace": True}),
    "prelu": "prelu",
    "leakyrelu": ("leakyrelu", {"inplace": True}),
}
"""The arguments of MONAI's class."""


class SegResNet(NetworkSection):
    """Residual encoder-decoder of the BraTS 2018 winner (MONAI's).

    With `norm: batch`, `act: prelu` and `filters` of 12, 20 or 32 it is the 3D network of this data's
    winner: its weights fit by `--weights`. Group norms are of eight groups, so `filters` is a
    multiple of 8 with them.
    """

    name: Literal["segresnet"] = "segresnet"
    filters: PositiveInt = 16
    blocks_down: tuple[PositiveInt, ...] = Field(default=(1, 2, 2, 4), min_length=2)
    dropout: Dropout = 0.0
    norm: Literal["group", "batch", "instance"] = "group"
    act: Literal["relu", "prelu", "leakyrelu"] = "relu"

    @model_validator(mode="after")
    def _check_groups(self) -> "SegResNet":
        if self.norm == "group" and self.filters % GROUPS:
            near = GROUPS * max(1, round(self.filters / GROUPS))
            raise ValueError(
                f"filters: {self.filters} is no multiple of {GROUPS}, the groups of its norms; {near} "
                "would be, or norm: batch takes any"
            )
        return self

    @property
    def stride(self) -> Stride:
        """The multiple that each axis of a patch must have."""
        return total_stride([(2, 2, 2)] * (len(self.blocks_down) - 1))

    def build(self, inputs: int, outputs: int) -> "nn.Module":
        """A network from `inputs` channels to `outputs` classes."""
        from monai.networks.nets import SegResNet

        from volseg.model.networks.instance_norm import use_channels_last_norms

        network: nn.Module = SegResNet(
            spatial_dims=3,
            init_filters=self.filters,
            in_channels=inputs,
            out_channels=outputs,
            dropout_prob=self.dropout or None,
            act=ACTIVATIONS[self.act],
            norm=NORMS[self.norm],
            blocks_down=self.blocks_down,
            blocks_up=(1,) * (len(self.blocks_down) - 1),
        )
        return use_channels_last_norms(network) if self.norm == "instance" else network
