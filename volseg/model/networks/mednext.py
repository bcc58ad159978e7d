"""MedNeXt, a U-Net of ConvNeXt blocks."""

from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import PositiveInt

from volseg.model.networks.deep_supervision import DeepSupervision
from volseg.model.networks.strides import Stride

if TYPE_CHECKING:
    from torch import nn

LEVELS = 5


class _Size(NamedTuple):
    """Blocks of each level down to the deepest, and how much each of them widens."""

    blocks: tuple[int, ...]
    expansion: tuple[int, ...]


SIZES = {
    "S": _Size((2, 2, 2, 2, 2), (2, 2, 2, 2, 2)),
    "B": _Size((2, 2, 2, 2, 2), (2, 3, 4, 4, 4)),
    "M": _Size((3, 4, 4, 4, 4), (2, 3, 4, 4, 4)),
    "L": _Size((3, 4, 8, 8, 8), (3, 4, 8, 8, 8)),
}
"""Roy et al. 2023, table 1; the way up mirrors the way down."""


class MedNeXt(DeepSupervision):
    """U-Net of ConvNeXt blocks, sizes S, B, M and L of the paper, kernel 3 (Roy et al. 2023; MONAI's).

    Five levels, each half as large on all axes and of twice the channels; `filters` are those of the
    first. All levels are judged by the loss, with the weights 1, 1/2, 1/4, ... or `level_weights`.
    """

    name: Literal["mednext"] = "mednext"
    size: Literal["S", "B", "M", "L"] = "S"
    filters: PositiveInt = 32
    deep_supervision: bool = True

    @property
    def expansion(self) -> tuple[int, ...]:
        """How many times its channels a block of each level has in between, the finest level first."""
        return SIZES[self.size].expansion

    @property
    def stride(self) -> Stride:
        """The multiple that each axis of a patch must have."""
        return (16, 16, 16)

    @property
    def supervised_levels(self) -> tuple[int, int]:
        """The number of levels that give logits by default, and at most."""
        return LEVELS, LEVELS

    def build(self, inputs: int, outputs: int) -> "nn.Module":
        """A network from `inputs` channels to `outputs` classes."""
        from volseg.model.networks.instance_norm import use_channels_last_norms
        from volseg.model.networks.supervised_mednext import SupervisedMedNeXt, use_float32_depthwise

        blocks, expansion = SIZES[self.size]
        network = SupervisedMedNeXt(
            spatial_dims=3,
            init_filters=self.filters,
            in_channels=inputs,
            out_channels=outputs,
            encoder_expansion_ratio=expansion[:-1],
            decoder_expansion_ratio=expansion[-2::-1],
            bottleneck_expansion_ratio=expansion[-1],
            kernel_size=3,
            deep_supervision=self.deep_supervision,
            use_residual_connection=True,
            blocks_down=blocks[:-1],
            blocks_bottleneck=blocks[-1],
            blocks_up=blocks[-2::-1],
        )
        if self.deep_supervision:
            network.keep_heads(self.outputs - 1)
        return use_float32_depthwise(use_channels_last_norms(network))
