"""ResEnc, nnU-Net's U-Net with a residual encoder."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt, model_validator

from volseg.model.networks.deep_supervision import DeepSupervision, decoder_levels
from volseg.model.networks.strides import (
    Kernels,
    Stride,
    Strides,
    check_kernels,
    check_levels,
    kernels_per_axis,
    strides_per_axis,
    total_stride,
)

if TYPE_CHECKING:
    from torch import nn

BLOCKS = (1, 3, 4, 6)
"""Residual blocks of nnU-Net's levels, finest first; each level below has as many as the last."""


class ResEnc(DeepSupervision):
    """Residual-encoder U-Net of nnU-Net's presets M, L and XL (Isensee et al. 2024).

    The presets are one network: 32 channels, doubled from level to level up to 320, and 1, 3, 4, 6,
    6, 6 residual blocks. They differ in the patch that 8, 24 and 40 GB of a GPU hold, two a batch;
    `volseg plan --network resenc` finds it, the strides and the kernels of each axis.
    `filters` are the channels of each level, `blocks` its residual blocks (None: nnU-Net's),
    `kernels` the voxels of its convolutions along each axis (None: 3). `level_weights` are the
    weights of the levels that the loss judges, finest first; None is 1, 1/2, 1/4, ... of all
    levels of the decoder but the coarsest.
    """

    name: Literal["resenc"] = "resenc"
    filters: tuple[PositiveInt, ...] = Field(default=(32, 64, 128, 256, 320, 320), min_length=3)
    blocks: tuple[PositiveInt, ...] | None = None
    strides: Strides = None
    kernels: Kernels = None
    deep_supervision: bool = True

    @model_validator(mode="after")
    def _check_levels(self) -> "ResEnc":
        levels = len(self.filters)
        check_levels(self.strides, levels)
        check_kernels(self.kernels, levels)
        if self.blocks is not None and len(self.blocks) != levels:
            raise ValueError(f"blocks: {levels} levels need {levels} numbers (got {len(self.blocks)})")
        return self

    @property
    def stride(self) -> Stride:
        """The multiple that each axis of a patch must have."""
        return total_stride(self._level_strides)

    @property
    def supervised_levels(self) -> tuple[int, int]:
        """The number of levels that give logits by default, and at most."""
        return decoder_levels(len(self.filters))

    def build(self, inputs: int, outputs: int) -> "nn.Module":
        """A network from `inputs` channels to `outputs` classes."""
        from volseg.model.networks.instance_norm import use_channels_last_norms
        from volseg.model.networks.residual_encoder import Level, ResidualEncoderUNet

        depth = len(self.filters)
        levels = zip(
            self.filters,
            self.blocks or [BLOCKS[min(level, len(BLOCKS) - 1)] for level in range(depth)],
            kernels_per_axis(self.kernels, depth),
            ((1, 1, 1), *self._level_strides),
            strict=True,
        )
        network = ResidualEncoderUNet(inputs, outputs, [Level(*one) for one in levels], outputs=self.outputs)
        return use_channels_last_norms(network)

    @property
    def _level_strides(self) -> tuple[Stride, ...]:
        return strides_per_axis(self.strides, len(self.filters))
