"""Attention within windows: on a CPU in chunks that fit its cache, on a GPU by torch's fused kernel."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import torch
from monai.networks.nets.swin_unetr import BasicLayer, get_window_size
from monai.networks.nets.swin_unetr import WindowAttention as MonaiAttention
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

Size = tuple[int, ...]
APART = -100.0
"""Added to the attention between voxels that only the shift made neighbours, as in MONAI."""
CACHED = 1 << 20
"""Attention values of one core's chunk."""


@dataclass(frozen=True)
class WindowKinds:
    """The windows of a batch, sorted into at most eight kinds with a mask each.

    Only the last window of a shifted axis holds voxels from both ends of the image, so a window's mask
    depends only on the axes on which it is the last.
    """

    order: Tensor
    """(B * W,): the windows of each kind one after the other."""
    back: Tensor
    """(B * W,): the place of each window in `order`."""
    counts: tuple[int, ...]
    """The number of windows of each kind."""
    masks: tuple[Tensor | None, ...]
    """Added to the attention of each kind, (N, N), or None."""


@lru_cache(maxsize=64)
@torch.inference_mode(mode=False)  # what validation makes is used in training too
def window_kinds(grid: Size, window: Size, shift: Size, *, batch: int, device: torch.device) -> WindowKinds:
    """The kinds of windows of a grid of `grid` windows a scan, shifted by `shift` voxels."""
    shifted = [axis for axis in range(len(grid)) if shift[axis]]
    places = torch.cartesian_prod(*(torch.arange(n) for n in grid)).view(-1, len(grid))
    last = places == torch.tensor(grid) - 1
    kind = sum((last[:, axis].long() << axis for axis in shifted), torch.zeros(len(places), dtype=torch.long))
    kind = kind.repeat(batch)
    order = kind.argsort(stable=True)
    present = sorted(set(kind.tolist()))
    return WindowKinds(
        order=order.to(device),
        back=order.argsort().to(device),
        counts=tuple(int((kind == number).sum()) for number in present),
        masks=tuple(_attention_mask(number, window, shift, device) for number in present),
    )


def _attention_mask(kind: int, window: Size, shift: Size, device: torch.device) -> Tensor | None:
    """The mask of windows that are the last on the axes whose bits `kind` has."""
    if not kind:
        return None
    steps = [
        [i >= size - step if kind >> axis & 1 else False for i in range(size)]
        for axis, (size, step) in enumerate(zip(window, shift, strict=True))
    ]
    region = torch.tensor([sum(bit << axis for axis, bit in enumerate(voxel)) for voxel in product(*steps)])
    apart = region[:, None] != region[None, :]
    return torch.where(apart, APART, 0.0).to(device)


class ChunkedWindowAttention(MonaiAttention):  # type: ignore[misc]
    """MONAI's attention with the same weights, values in the type of the data, and one mask a kind."""

    def forward(self, x: Tensor, mask: WindowKinds | None) -> Tensor:
        """Windows (B * W, N, C) after attention among the N voxels of each."""
        windows, n, channels = x.shape
        shape = (windows, n, 3, self.num_heads, channels // self.num_heads)
        if mask is not None:
            x = x[mask.order]
        q, k, v = self.qkv(x).view(shape).permute(2, 0, 3, 1, 4).unbind()
        bias = self._position_bias(n)
        counts, masks = (mask.counts, mask.masks) if mask else ((windows,), (None,))
        parts = zip(*(torch.split(part, list(counts)) for part in (q, k, v)), masks, strict=True)
        mixed = torch.cat([self._attend(q, k, v, bias if m is None else bias + m) for q, k, v, m in parts])
        if mask is not None:
            mixed = mixed[mask.back]
        out: Tensor = self.proj_drop(self.proj(mixed.transpose(1, 2).reshape(windows, n, channels)))
        return out

    def _position_bias(self, n: int) -> Tensor:
        """The bias of each head by the relative position of two voxels, (H, N, N)."""
        index = self.relative_position_index[:n, :n].reshape(-1)
        rows: Tensor = self.relative_position_bias_table.index_select(0, index)
        return rows.t().reshape(self.num_heads, n, n)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, added: Tensor) -> Tensor:
        """(B, H, N, D) from queries, keys and values of that shape, with (H, N, N) added to all."""
        added = added.to(q.dtype)
        return (attend_in_chunks if q.device.type == "cpu" else attend_fused)(self, q, k, v, added)


def attend_in_chunks(attention: MonaiAttention, q: Tensor, k: Tensor, v: Tensor, added: Tensor) -> Tensor:
    """Attention in chunks whose scores stay in the cache of a processor."""
    most = max(1, CACHED * torch.get_num_threads() // added.numel())
    mixed = []
    parts = (torch.split(part, most) for part in (q * attention.scale, k, v))
    for query, key, value in zip(*parts, strict=True):
        scores = query @ key.transpose(-2, -1) + added
        mixed.append(attention.attn_drop(scores.softmax(dim=-1)) @ value)
    return torch.cat(mixed)


def attend_fused(attention: MonaiAttention, q: Tensor, k: Tensor, v: Tensor, added: Tensor) -> Tensor:
    """Attention without a tensor of all scores, which on a GPU would fill its memory."""
    drop = attention.attn_drop.p if attention.training else 0.0
    return scaled_dot_product_attention(q, k, v, attn_mask=added, dropout_p=drop, scale=attention.scale)


class SwinStage(BasicLayer):  # type: ignore[misc]
    """MONAI's stage, which makes its masks once for each size."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, X, Y, Z) after the blocks of the stage and half as large on each axis."""
        size = tuple(x.shape[2:])
        window, shift = get_window_size(size, self.window_size, self.shift_size)
        mask = None
        if any(shift):
            grid = tuple(-(-n // w) for n, w in zip(size, window, strict=True))
            mask = window_kinds(grid, tuple(window), tuple(shift), batch=len(x), device=x.device)
        x = x.permute(0, 2, 3, 4, 1).contiguous()
        for block in self.blocks:
            x = block(x, mask)
        if self.downsample is not None:
            x = self.downsample(x)
        return x.permute(0, 4, 1, 2, 3)


def attend_in_cache(network: nn.Module) -> nn.Module:
    """A network with MONAI's Swin stages replaced by these; its weights stay."""
    for module in network.modules():
        if type(module) is BasicLayer:
            module.__class__ = SwinStage
        elif type(module) is MonaiAttention:
            module.__class__ = ChunkedWindowAttention
    return network
