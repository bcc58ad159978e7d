"""PyTorch: the one engine for GPUs, and the one that training validates with."""

from collections.abc import Iterator
from importlib.util import find_spec
from itertools import islice
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from volseg.model.engines.model import Format, Model, Work
from volseg.model.windows import Floats
from volseg.schema import Section

if TYPE_CHECKING:
    from torch import Tensor, nn

    from volseg.model.device import Device

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

    def load(self, model: Model, work: Work) -> "TorchNetwork":
        """The network on the best device.

        Raises:
            UserError: weights that are missing or damaged.
        """
        from volseg.model.device import Device

        device = Device.best(model.precision)
        network = device.place(model.network())
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

    def outputs(self, windows: Iterator[Floats]) -> Iterator[Floats]:
        """Windows (C, X, Y, Z) as logits (K, X, Y, Z), in order."""
        self.network.eval()
        before: Tensor | None = None
        while batch := list(islice(windows, self.batch)):
            now = self._run(np.stack(batch))  # on a GPU it goes on while those before are used
            if before is not None:
                yield from before.float().cpu().numpy()
            before = now
        if before is not None:
            yield from before.float().cpu().numpy()

    def _run(self, windows: Floats) -> "Tensor":
        import torch

        with torch.inference_mode(), self.device.autocast():
            found: Tensor = self.network(self.device.send(torch.from_numpy(windows)))
            return found

    def __str__(self) -> str:
        return f"torch, {self.device}"
