"""Torch's arrays on a device, for the windows of inference and the patches of training."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from volseg.model.engines.device_errors import device_errors
from volseg.model.engines.interface import Layer


@dataclass(frozen=True)
class TorchArrays:
    """Tensors on a device. CUDA's queue is never waited for but where a finished layer is needed."""

    device: torch.device

    def upload(self, array: npt.NDArray[Any]) -> Tensor:
        """The array on the device; on the CPU it shares its memory."""
        tensor, on_gpu = torch.from_numpy(array), self.device.type == "cuda"
        if on_gpu:
            tensor = tensor.pin_memory()  # else the copy waits for all that is queued before it
        return tensor.to(self.device, non_blocking=on_gpu)  # MPS may read memory that is used anew meanwhile

    def flip(self, array: Tensor, axes: tuple[int, ...]) -> Tensor:
        """A mirrored copy."""
        return array.flip(axes)

    def download(self, layers: Iterator[Layer]) -> Iterator[Layer]:
        """The same layers; from CUDA each comes once the windows of the next one are queued.

        Raises:
            UserError: out of memory, in the making of the layers too.
        """
        return self._explain_errors((self._downloads if self.device.type == "cuda" else _in_numpy)(layers))

    def _explain_errors(self, layers: Iterator[Layer]) -> Iterator[Layer]:
        advice = "end what else uses its memory, or make inference.window smaller in the run's config.yaml"
        if self.device.type != "cpu":
            advice += ", or pass --device cpu"
        while True:
            with device_errors(self.device, advice):
                layer = next(layers, None)
            if layer is None:
                return
            yield layer

    def _downloads(self, layers: Iterator[Layer]) -> Iterator[Layer]:
        last: _Download | None = None
        for layer in layers:
            current = _Download(layer, self.device)
            if last is not None:
                yield last.wait()
            last = current
        if last is not None:
            yield last.wait()


def _in_numpy(layers: Iterator[Layer]) -> Iterator[Layer]:
    for first, sums, total in layers:
        yield Layer(first, sums.cpu().numpy(), total.cpu().numpy())


class _Download:
    """A layer on its way from the device into memory that its copies need not wait for."""

    def __init__(self, layer: Layer, device: torch.device) -> None:
        self._layer = Layer(layer.first, _copy(layer.sums), _copy(layer.total))
        self._done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._done.record(torch.cuda.current_stream(device))

    def wait(self) -> Layer:
        """The layer in numpy's arrays, once it has arrived."""
        self._done.synchronize()
        return Layer(self._layer.first, self._layer.sums.numpy(), self._layer.total.numpy())


def _copy(tensor: Tensor) -> Tensor:
    """A copy in pinned memory, which is whole only once the queue has come to it."""
    copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return copy.copy_(tensor, non_blocking=True)
