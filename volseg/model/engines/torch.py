"""The engine PyTorch: the only one for GPUs, and the one of validation in training."""

import logging
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, ClassVar, Literal

from volseg.model.engines.device_errors import device_errors, is_out_of_memory
from volseg.model.engines.interface import (
    LARGEST,
    EngineOptions,
    Format,
    LibraryEngine,
    TrainedModel,
    WeightedLogits,
    WeightedWindow,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

    from volseg.model.engines.torch_device import Device

log = logging.getLogger(__name__)
BATCH, BATCH_OF_A_GPU = 1, 4
"""Windows at a time: more do not fit a CPU's cache, and fewer leave cores of a GPU idle."""


class Torch(LibraryEngine):
    """PyTorch: on a GPU if there is one, else in bf16 where the processor has it."""

    name: Literal["torch"] = "torch"
    reads: ClassVar[tuple[Format, ...]] = ("torch",)
    on_devices: ClassVar[bool] = True

    def load(self, model: TrainedModel, work: EngineOptions) -> "TorchNetwork":
        """The network on its device."""
        from volseg.model.engines.torch_device import Device

        device = Device.choose(model.precision, work.device)
        network = model.network()
        device = device.suited_to(network)
        with device_errors(device.device, "end what else uses it, or pass --device cpu"):
            network = device.place_network(network)
        if work.compiled:
            import torch

            network = torch.compile(network)  # type: ignore[assignment]
        return TorchNetwork(network, device, work.at_once, compiled=work.compiled)


class TorchNetwork:
    """A torch network on a device; its weights may go on changing between two scans.

    Batches are all of one size if it is `compiled`, or cuDNN looks for its fastest kernels: both would be
    done anew for another size. A device whose memory is too small for several windows is given one at a
    time from then on.
    """

    def __init__(
        self, network: "nn.Module", device: "Device", batch: int | None = None, *, compiled: bool = False
    ) -> None:
        from volseg.model.engines.torch_arrays import TorchArrays

        self.network = network
        self.device = device
        self.arrays = TorchArrays(device.device)
        self.kind = f"torch {str(device.dtype).removeprefix('torch.')}"
        self.batch = batch or (BATCH if device.device.type == "cpu" else BATCH_OF_A_GPU)
        self._compiled = compiled

    def parts(self, windows: Iterator[WeightedWindow]) -> Iterator[WeightedLogits]:
        """The weighted logits of each window, in order; a GPU goes on computing them."""
        self.network.eval()
        while batch := list(islice(windows, self.batch)):
            yield from self._run_what_fits(batch)

    def _run_what_fits(self, batch: Sequence[WeightedWindow]) -> Iterator[WeightedLogits]:
        """The weighted logits of a batch, one by one if memory is too small for all."""
        import torch

        try:
            return self._run(batch)
        except RuntimeError as error:
            if self.batch == 1 or not is_out_of_memory(error):
                raise
            log.warning("%s: out of memory with %d windows at a time; now with one", self, self.batch)
        # the error is gone, and with it the tensors that its traceback held
        torch.cuda.empty_cache()
        self.batch = 1
        return chain.from_iterable(self._run([window]) for window in batch)

    def _run(self, batch: Sequence[WeightedWindow]) -> Iterator[WeightedLogits]:
        import torch

        with torch.inference_mode():
            logits = self._logits([window.image for window in batch])
            totals = logits.sum((1, 2, 3, 4))
            weight = torch.stack([window.weight for window in batch])[:, None]
            steps = logits.clamp(-LARGEST, LARGEST).mul_(weight).round_()
            steps = steps.to(torch.int16, memory_format=torch.contiguous_format)  # faster to add up
        return map(WeightedLogits, steps, totals)

    def _logits(self, images: "list[Tensor]") -> "Tensor":
        """The logits (B, K, X, Y, Z) of images (C, X, Y, Z)."""
        import torch

        same_size = self._compiled or torch.backends.cudnn.benchmark
        lacking = self.batch - len(images) if same_size else 0
        batch = self.device.send_batch(torch.stack(images + images[:1] * lacking))
        with self.device.autocast():
            output: Tensor = self.network(batch)
        return output[: len(images)].float()

    def __str__(self) -> str:
        return f"torch, {self.device}"
