import logging
import weakref

import numpy as np
import pytest
import torch
from torch import nn

from volseg.errors import UserError
from volseg.model.engines.interface import STEPS, Layer, WeightedLogits, WeightedWindow
from volseg.model.engines.torch import TorchNetwork
from volseg.model.engines.torch_device import Device

CPU = Device(torch.device("cpu"), torch.float32)


class Twice(nn.Module):
    """Twice the image; remembers the sizes of its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(image))
        return 2 * image


def numbered_windows(count: int) -> list[WeightedWindow]:
    """Windows of 2x3x4 voxels; all voxels of window n are n."""
    weight = torch.full((2, 3, 4), float(STEPS))
    return [WeightedWindow(torch.full((1, 2, 3, 4), float(n)), weight) for n in range(count)]


def check_numbered(parts: list[WeightedLogits]) -> None:
    for number, part in enumerate(parts):
        assert (part.steps == 2 * number * STEPS).all()
        assert float(part.total) == 2 * number * 24


@pytest.mark.parametrize(
    ("compiled", "searching", "sizes"),
    [(False, False, [3, 3, 1]), (True, False, [3, 3, 3]), (False, True, [3, 3, 3])],
)
def test_a_network_whose_kernels_are_made_or_sought_by_size_sees_batches_of_one_size(
    monkeypatch, compiled: bool, searching: bool, sizes: list[int]
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", searching)
    module = Twice()

    parts = list(TorchNetwork(module, CPU, 3, compiled=compiled).parts(iter(numbered_windows(7))))

    assert module.batches == sizes
    assert len(parts) == 7
    check_numbered(parts)


def test_windows_are_read_as_they_are_needed() -> None:
    read = []
    windows = (read.append(n) or window for n, window in enumerate(numbered_windows(5)))

    next(TorchNetwork(Twice(), CPU, 2).parts(windows))

    assert read == [0, 1]


def test_logits_are_weighted_and_rounded_to_even() -> None:
    """By hand: 2.5 and 1.5 go to 2."""
    image, weight = np.full((1, 1, 1, 2), 0.5, np.float32), np.array([[[2.5, 1.5]]], np.float32)
    network = TorchNetwork(Twice(), CPU)
    window = WeightedWindow(network.arrays.upload(image), network.arrays.upload(weight))

    (part,) = network.parts(iter([window]))

    assert part.steps.dtype == torch.int16
    assert part.steps.flatten().tolist() == [2, 2]


class Large(Twice):
    """Runs out of memory in batches of more than `most` windows, while it holds a tensor of its own."""

    def __init__(self, most: int, error: type[RuntimeError] = torch.OutOfMemoryError) -> None:
        super().__init__()
        self.most, self.error = most, error
        self.held: list[weakref.ref[torch.Tensor]] = []

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        inner = 2 * super().forward(image)
        self.held.append(weakref.ref(inner))
        if len(image) > self.most:
            raise self.error("out of memory" if self.error is torch.OutOfMemoryError else "wrong shape")
        return inner / 2


def test_out_of_memory_a_batch_is_run_one_by_one_and_so_are_all_that_follow(monkeypatch, caplog) -> None:
    module, alive = Large(most=1), []  # the module's tensors, each time the cache is emptied
    network = TorchNetwork(module, CPU, 4)
    monkeypatch.setattr(
        "torch.cuda.empty_cache", lambda: alive.append([ref() for ref in module.held if ref() is not None])
    )

    with caplog.at_level(logging.WARNING):
        first, second = (list(network.parts(iter(numbered_windows(6)))) for _ in range(2))

    assert module.batches == [4, *[1] * 12]
    assert alive == [[]]  # once, and the failed batch is gone by then
    for parts in (first, second):
        assert len(parts) == 6
        check_numbered(parts)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "out of memory with 4 windows at a time" in caplog.text


def test_a_compiled_network_is_given_one_window_at_a_time_too() -> None:
    module = Large(most=1)

    parts = list(TorchNetwork(module, CPU, 4, compiled=True).parts(iter(numbered_windows(2))))

    assert module.batches == [4, 1, 1]
    check_numbered(parts)


def test_one_window_that_is_too_much_is_told_in_one_line() -> None:
    network = TorchNetwork(Large(most=0), CPU, 4)
    layers = (Layer(0, *part) for part in network.parts(iter(numbered_windows(2))))

    with pytest.raises(UserError, match=r"^cpu: out of memory; .*inference\.window smaller") as told:
        list(network.arrays.download(layers))

    assert "\n" not in str(told.value)


def test_other_errors_of_a_network_are_not_tried_again() -> None:
    module = Large(most=1, error=RuntimeError)

    with pytest.raises(RuntimeError, match="wrong shape"):
        list(TorchNetwork(module, CPU, 4).parts(iter(numbered_windows(4))))

    assert module.batches == [4]
