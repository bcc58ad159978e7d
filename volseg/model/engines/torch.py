"""The engine PyTorch: the only one for GPUs, and the one of validation in training."""

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from volseg.model.engines.interface import (
    LARGEST,
    EngineOptions,
    Floats,
    Format,
    LibraryEngine,
    Sums,
    TrainedModel,
    WeightedWindow,
    check_finite,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

    from volseg.model.engines.torch_device import Device

BATCH, BATCH_OF_A_GPU = 1, 4
"""Windows at a time: more do not fit a CPU's cache, and fewer leave cores of a GPU idle."""


class Torch(LibraryEngine):
    """PyTorch: on a GPU if there is one, else in bf16 where the processor has it."""

    name: Literal["torch"] = "torch"
    reads: ClassVar[tuple[Format, ...]] = ("torch",)

    def load(self, model: TrainedModel, work: EngineOptions) -> "TorchNetwork":
        """The network on the best device."""
        from volseg.model.engines.torch_device import Device

        device = Device.best_available(model.precision)
        network = device.place_network(model.network())
        if work.compiled:
            import torch

            network = torch.compile(network)  # type: ignore[assignment]
        return TorchNetwork(network, device, work.at_once)


class TorchNetwork:
    """A torch network on a device; its weights may go on changing between two scans."""

    def __init__(self, network: "nn.Module", device: "Device", batch: int | None = None) -> None:
        self.network = network
        self.device = device
        self.kind = f"torch {str(device.dtype).removeprefix('torch.')}"
        self.batch = batch or (BATCH if device.device.type == "cpu" else BATCH_OF_A_GPU)

    def parts(self, windows: Iterator[WeightedWindow]) -> Iterator[Sums]:
        """The weighted logits (K, X, Y, Z) of each window, in order."""
        self.network.eval()
        last: tuple[Tensor, Tensor] | None = None
        while batch := list(islice(windows, self.batch)):
            current = self._run_batch(*map(np.stack, zip(*batch, strict=True)))
            if last is not None:  # used while a GPU computes the current batch
                yield from self._checked_sums(*last)
            last = current
        if last is not None:
            yield from self._checked_sums(*last)

    def _run_batch(self, images: Floats, weights: Floats) -> "tuple[Tensor, Tensor]":
        """Weighted logits (B, K, X, Y, Z) of windows (B, C, X, Y, Z), and the sum of the logits."""
        import torch

        with torch.inference_mode():
            with self.device.autocast():
                output = self.network(self.device.send_batch(torch.from_numpy(images)))
            logits = output.float()
            weight = torch.from_numpy(weights)[:, None].to(logits.device, non_blocking=True)
            part = logits.clamp(-LARGEST, LARGEST).mul_(weight).round_()
            return part.to(torch.int16), logits.sum()

    def _checked_sums(self, part: "Tensor", total: "Tensor") -> Sums:
        check_finite(float(total), self)
        sums: Sums = part.cpu().numpy()
        return sums

    def __str__(self) -> str:
        return f"torch, {self.device}"
