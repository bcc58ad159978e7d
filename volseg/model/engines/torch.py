"""PyTorch: the one engine for GPUs, and the one that training validates with."""

from collections.abc import Iterator
from importlib.util import find_spec
from itertools import islice
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from volseg.model.engines.interface import (
    LARGEST,
    EngineOptions,
    Floats,
    Format,
    Sums,
    TrainedModel,
    WeightedWindow,
    check_finite,
)
from volseg.schema import Section

if TYPE_CHECKING:
    from torch import Tensor, nn

    from volseg.model.engines.torch_device import Device

BATCH, BATCH_OF_A_GPU = 1, 4
"""Windows at a time: on a CPU more do not fit its cache, a GPU wants work for all its cores."""


class Torch(Section):
    """PyTorch: on a GPU if there is one, else in bf16 where the processor has it."""

    name: Literal["torch"] = "torch"
    reads: ClassVar[tuple[Format, ...]] = ("torch",)

    @property
    def missing(self) -> str:
        """What must be installed first; empty if nothing."""
        return "" if find_spec("torch") else "torch"

    def load(self, model: TrainedModel, work: EngineOptions) -> "TorchNetwork":
        """The network on the best device.

        Raises:
            UserError: weights that are missing or damaged.
        """
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
        """What each window adds to the sums (K, X, Y, Z), in order."""
        self.network.eval()
        before: tuple[Tensor, Tensor] | None = None
        while batch := list(islice(windows, self.batch)):
            now = self._run_batch(*map(np.stack, zip(*batch, strict=True)))
            if before is not None:  # on a GPU the next goes on while those before are used
                yield from self._checked_sums(*before)
            before = now
        if before is not None:
            yield from self._checked_sums(*before)

    def _run_batch(self, images: Floats, weights: Floats) -> "tuple[Tensor, Tensor]":
        """What windows (B, C, X, Y, Z) add (B, K, X, Y, Z), and the sum of their logits."""
        import torch

        with torch.inference_mode():
            with self.device.autocast():
                found = self.network(self.device.send_batch(torch.from_numpy(images)))
            logits = found.float()
            weight = torch.from_numpy(weights)[:, None].to(logits.device, non_blocking=True)
            part = logits.clamp(-LARGEST, LARGEST).mul_(weight).round_()
            return part.to(torch.int16), logits.sum()

    def _checked_sums(self, part: "Tensor", total: "Tensor") -> Sums:
        check_finite(float(total), self)
        sums: Sums = part.cpu().numpy()
        return sums

    def __str__(self) -> str:
        return f"torch, {self.device}"
