"""Batch normalisation with the statistics of the global batch, over all ranks."""

import torch
from torch import Tensor, nn

from volseg.model.distributed.process_group import all_reduce_sum


def convert_sync_batch_norm(network: nn.Module) -> None:
    """Make a network's batch norms normalise by the batch of all ranks; their weights stay."""
    for module in network.modules():
        if type(module) is nn.BatchNorm3d:
            module.__class__ = _SyncBatchNorm


class _SyncBatchNorm(nn.BatchNorm3d):
    """torch's SyncBatchNorm, but on CPUs too; ranks may hold different numbers of patches."""

    def forward(self, image: Tensor) -> Tensor:
        """The image (B, C, X, Y, Z), normalised in float32."""
        if not self.training:
            return super().forward(image)
        values = image.float()
        axes, voxels = (0, 2, 3, 4), values.numel() // values.shape[1]
        count = all_reduce_sum(values.new_tensor([voxels]))
        mean = all_reduce_sum(values.sum(axes)) / count
        centred = values - mean.view(-1, 1, 1, 1)
        variance = all_reduce_sum((centred**2).sum(axes)) / count
        self._update_running_stats(mean.detach(), (variance * count / (count - 1)).detach())
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale.view(-1, 1, 1, 1) + self.bias.view(-1, 1, 1, 1)).to(image.dtype)

    @torch.no_grad()
    def _update_running_stats(self, mean: Tensor, variance: Tensor) -> None:
        """Update the running statistics, which validation and inference use."""
        if self.running_mean is None or self.running_var is None:
            return
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked or 1) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)
