"""Swin stages that gather their windows by constant indices, which a trace can hold."""

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from math import prod

import torch
import torch.nn.functional as F
from monai.networks.nets.swin_unetr import BasicLayer, SwinTransformerBlock, get_window_size
from monai.networks.nets.swin_unetr import WindowAttention as MonaiAttention
from torch import Tensor, nn

from volseg.model.networks.swin_attention import (
    ChunkedWindowAttention,
    Size,
    SwinStage,
    WindowKinds,
    window_kinds,
)


def rewrite_swin(network: nn.Module) -> None:
    """Make the Swin stages of a network, volseg's or MONAI's, gather their windows; weights stay."""
    for module in network.modules():
        if type(module) in (SwinStage, BasicLayer):
            module.__class__ = GatheredStage
        elif type(module) is SwinTransformerBlock:
            module.__class__ = GatheredBlock
        elif type(module) in (ChunkedWindowAttention, MonaiAttention):
            module.__class__ = GatheredAttention


class GatheredStage(BasicLayer):  # type: ignore[misc]
    """MONAI's stage; a trace of it is for one size."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, X, Y, Z) after the blocks of the stage and half as large on each axis."""
        x = x.permute(0, 2, 3, 4, 1)
        for block in self.blocks:
            x = block(x)
        if self.downsample is not None:
            x = self.downsample(x)
        out: Tensor = x.permute(0, 4, 1, 2, 3)
        return out


class GatheredBlock(SwinTransformerBlock):  # type: ignore[misc]
    """MONAI's block, whose attention takes windows in the order of their kinds."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, X, Y, Z, C) after attention within windows and the perceptron."""
        size = tuple(int(n) for n in x.shape[1:4])
        window, shift = get_window_size(size, self.window_size, self.shift_size)
        indices, inverse, kinds = _gather_indices_untraced(size, tuple(window), tuple(shift))
        voxels = self.norm1(x).flatten(1, 3)
        voxels = F.pad(voxels, (0, 0, 0, 1))  # the row of zeros that fills windows past the end
        windows = self.attn(voxels[:, indices], prod(window), kinds)
        x = x + windows[:, inverse].unflatten(1, size)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class GatheredAttention(MonaiAttention):  # type: ignore[misc]
    """MONAI's attention, of windows one after the other, those of one kind together."""

    def forward(self, x: Tensor, n: int, kinds: WindowKinds) -> Tensor:
        """(B, W * N, C) after attention among the N voxels of each window."""
        windows, heads = sum(kinds.counts), self.num_heads
        qkv = self.qkv(x).reshape(-1, windows, n, 3, heads, x.shape[-1] // heads)
        index = self.relative_position_index[:n, :n].reshape(-1)
        bias = self.relative_position_bias_table[index].t().reshape(heads, n, n)
        mixed, first = [], 0
        for count, mask in zip(kinds.counts, kinds.masks, strict=True):
            chunk = qkv[:, first : first + count].permute(3, 0, 1, 4, 2, 5).flatten(1, 2)
            out = self._attend_windows(chunk, bias if mask is None else bias + mask)
            mixed.append(out.reshape(-1, count * n, heads * out.shape[-1]))
            first += count
        projected: Tensor = self.proj(torch.cat(mixed, dim=1))
        return projected

    def _attend_windows(self, qkv: Tensor, added: Tensor) -> Tensor:
        """(B, N, H, D) from queries, keys and values (3, B, H, N, D) with (H, N, N) added to their scores."""
        scores = (qkv[0] * self.scale) @ qkv[1].transpose(-2, -1) + added
        mixed: Tensor = scores.softmax(dim=-1) @ qkv[2]
        return mixed.transpose(1, 2)


@lru_cache(maxsize=64)
def _gather_indices_untraced(size: Size, window: Size, shift: Size) -> tuple[Tensor, Tensor, WindowKinds]:
    """`gather_indices` in a thread of its own, so that its operations are no part of a trace made here."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(gather_indices, size, window, shift).result()


def gather_indices(size: Size, window: Size, shift: Size) -> tuple[Tensor, Tensor, WindowKinds]:
    """The indices of the voxels of an image's shifted windows.

    Returns:
        (W * N,): for each voxel of each window its index in the flat image, one past the last in padding;
        (X * Y * Z,): the inverse; and the kinds of windows, in whose order they are.
    """
    grid = tuple(-(-n // w) for n, w in zip(size, window, strict=True))
    full = [g * w for g, w in zip(grid, window, strict=True)]
    kinds = window_kinds(grid, window, shift, batch=1, device=torch.device("cpu"))
    image = torch.full(full, prod(size))
    image[: size[0], : size[1], : size[2]] = torch.arange(prod(size)).reshape(size)
    image = image.roll([-n for n in shift], (0, 1, 2))
    (a, b, c), (i, j, k) = grid, window
    windows = image.reshape(a, i, b, j, c, k).permute(0, 2, 4, 1, 3, 5).reshape(a * b * c, i * j * k)
    indices = windows[kinds.order].flatten()
    return indices, indices.argsort()[: prod(size)], kinds
