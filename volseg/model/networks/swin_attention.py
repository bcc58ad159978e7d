"""Attention within windows, so many windows at a time as the processor's cache holds."""

import torch
from monai.networks.nets.swin_unetr import BasicLayer, get_window_size
from monai.networks.nets.swin_unetr import WindowAttention as MonaiAttention
from torch import Tensor, nn

from volseg.model.networks.swin.windows import Kinds, kinds

CACHED = 1 << 20
"""As many attention values as a core handles at once."""


class WindowAttention(MonaiAttention):  # type: ignore[misc]
    """MONAI's, with the same weights; its values stay in the type of the data, and its mask is one a kind."""

    def forward(self, x: Tensor, mask: Kinds | None) -> Tensor:
        """Windows (B * W, N, C) after attention among the N voxels of each."""
        windows, n, channels = x.shape
        shape = (windows, n, 3, self.num_heads, channels // self.num_heads)
        if mask is not None:
            x = x[mask.order]
        q, k, v = self.qkv(x).view(shape).permute(2, 0, 3, 1, 4).unbind()
        bias = self._bias(n)
        counts, masks = (mask.counts, mask.masks) if mask else ((windows,), (None,))
        parts = zip(*(torch.split(part, list(counts)) for part in (q, k, v)), masks, strict=True)
        mixed = torch.cat(
            [self._attend(q, k, v, bias if m is None else bias + m) for q, k, v, m in parts]
        )
        if mask is not None:
            mixed = mixed[mask.back]
        out: Tensor = self.proj_drop(self.proj(mixed.transpose(1, 2).reshape(windows, n, channels)))
        return out

    def _bias(self, n: int) -> Tensor:
        """What each head adds for the relative position of two voxels, (H, N, N)."""
        index = self.relative_position_index[:n, :n].reshape(-1)
        rows: Tensor = self.relative_position_bias_table.index_select(0, index)
        return rows.t().reshape(self.num_heads, n, n)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, added: Tensor) -> Tensor:
        """(B, H, N, D) from queries, keys and values of that shape, with (H, N, N) added to all."""
        most = len(q)
        if q.device.type == "cpu":
            most = max(1, CACHED * torch.get_num_threads() // added.numel())
        mixed = []
        for some in zip(*(torch.split(part, most) for part in (q * self.scale, k, v)), strict=True):
            scores = some[0] @ some[1].transpose(-2, -1) + added.to(q.dtype)
            mixed.append(self.attn_drop(scores.softmax(dim=-1)) @ some[2])
        return torch.cat(mixed)


class Layer(BasicLayer):  # type: ignore[misc]
    """MONAI's stage; masks are made once for each size."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, X, Y, Z) after the blocks of the stage and half as large on each axis."""
        size = tuple(x.shape[2:])
        window, shift = get_window_size(size, self.window_size, self.shift_size)
        mask = None
        if any(shift):
            grid = tuple(-(-n // w) for n, w in zip(size, window, strict=True))
            mask = kinds(grid, tuple(window), tuple(shift), batch=len(x), device=x.device)
        x = x.permute(0, 2, 3, 4, 1).contiguous()
        for block in self.blocks:
            x = block(x, mask)
        if self.downsample is not None:
            x = self.downsample(x)
        return x.permute(0, 4, 1, 2, 3)


def attend_in_cache(network: nn.Module) -> nn.Module:
    """The network, with MONAI's Swin stages turned into these; its weights stay as they are."""
    for module in network.modules():
        if type(module) is BasicLayer:
            module.__class__ = Layer
        elif type(module) is MonaiAttention:
            module.__class__ = WindowAttention
    return network
