"""A 2D U-Net that sees the slices of a scan one by one, each with its neighbours."""

from collections.abc import Sequence
from typing import Any

import torch
from monai.networks.nets import FlexibleUNet
from torch import Tensor, nn

AT_ONCE = 16
"""Slices that are predicted at a time at most, so that memory does not grow with the scan."""
MOMENTUM = 0.1
"""The share of a batch in the running statistics, as in the decoder; EfficientNet's own is for long runs."""


class SliceNetwork(FlexibleUNet):  # type: ignore[misc]
    """MONAI's FlexibleUNet in 2D, whose channels are those of a slice and of its neighbours.

    `offsets` are the places of all slices that are seen, from the predicted one; beyond a scan or window they
    are clamped to its first and last slice. Names of weights are MONAI's.
    """

    def __init__(self, channels: int, classes: int, offsets: Sequence[int], **settings: Any) -> None:
        inputs = channels * len(offsets)
        super().__init__(inputs, classes, pretrained=False, spatial_dims=2, is_pad=False, **settings)
        self.register_buffer("offsets", torch.tensor(tuple(offsets)), persistent=False)
        for unused in ("_conv_head", "_bn1", "_fc"):  # of the classifier
            delattr(self.encoder, unused)
        for module in self.encoder.modules():
            if hasattr(module, "_swish"):  # one kernel, which engines can convert
                module._swish = nn.SiLU()  # noqa: SLF001
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = MOMENTUM

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K, X, Y, Z) of an image (B, C, X, Y, Z)."""
        stacks = stack_neighbours(image, self.offsets)
        # Norms need the whole batch, and a graph would grow with each chunk.
        whole = self.training or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        chunks = (stacks,) if whole else torch.split(stacks, AT_ONCE)
        logits = torch.cat([super(SliceNetwork, self).forward(chunk) for chunk in chunks])
        return logits.view(image.shape[0], image.shape[4], *logits.shape[1:]).permute(0, 2, 3, 4, 1)


def stack_neighbours(image: Tensor, offsets: Tensor) -> Tensor:
    """Slices (B * Z, C * N, X, Y) of an image (B, C, X, Y, Z), each with those at offsets (N,) from it."""
    batch, channels, x, y, depth = image.shape
    places = torch.arange(depth, device=image.device)[:, None] + offsets
    stacks = image.index_select(4, places.clamp(0, depth - 1).flatten()).view(
        batch, channels, x, y, depth, len(offsets)
    )
    return stacks.permute(0, 4, 1, 5, 2, 3).reshape(batch * depth, channels * len(offsets), x, y)
