"""Batch normalisation with the statistics of the global batch, over all ranks."""

import torch
from torch import Tensor, nn

from volseg.model.distributed.process_group import all_reduce_sum


def convert_sync_batch_norm(network: nn.Module, device: torch.device) -> None:
    """Make a network's batch norms normalise by the batch of all ranks; their weights stay.

    Ranks may hold different numbers of patches. torch's own class, which runs on GPUs only, does that there
    in fewer passes and one exchange a norm instead of three.
    """
    for module in network.modules():
        if type(module) not in (nn.BatchNorm2d, nn.BatchNorm3d):
            continue
        if device.type == "cuda":
            module.__class__ = nn.SyncBatchNorm
            module.process_group = None  # type: ignore[assignment]  # all ranks
        else:
            module.__class__ = _SyncBatchNorm


class _SyncBatchNorm(nn.modules.batchnorm._BatchNorm):  # noqa: SLF001
    """torch's SyncBatchNorm for CPUs."""

    def _check_input_dim(self, image: Tensor) -> None:
        """Slices and volumes are both taken."""

    def forward(self, image: Tensor) -> Tensor:
        """The image (B, C, X, Y) or (B, C, X, Y, Z), normalised in float32."""
        if not self.training:
            return super().forward(image)
        values = image.float()
        axes, voxels = (0, *range(2, values.ndim)), values.numel() // values.shape[1]
        per_channel = (-1, *[1] * (values.ndim - 2))
        count = all_reduce_sum(values.new_tensor([voxels]))
        mean = all_reduce_sum(values.sum(axes)) / count
        centred = values - mean.view(per_channel)
        variance = all_reduce_sum((centred**2).sum(axes)) / count
        self._update_running_stats(mean.detach(), (variance * count / (count - 1)).detach())
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale.view(per_channel) + self.bias.view(per_channel)).to(image.dtype)

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
