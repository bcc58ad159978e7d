import numpy as np
import pytest
import torch

from volseg.model.engines import torch_arrays
from volseg.model.engines.interface import Layer
from volseg.model.engines.torch_arrays import TorchArrays


class Event:
    """An event of a stream in which all is done at once; `waited` counts who waited."""

    waited = 0

    def record(self, stream: object) -> None:
        assert stream == "current"

    def synchronize(self) -> None:
        Event.waited += 1


@pytest.fixture
def cuda(monkeypatch) -> TorchArrays:
    """Arrays of a GPU whose queue is played on the CPU."""
    monkeypatch.setattr(Event, "waited", 0)
    monkeypatch.setattr("torch.cuda.Event", Event)
    monkeypatch.setattr("torch.cuda.current_stream", lambda _: "current")
    monkeypatch.setattr(torch_arrays, "_copy", torch.clone)
    return TorchArrays(torch.device("cuda"))


def test_a_layer_is_waited_for_once_the_next_one_is_queued(cuda: TorchArrays) -> None:
    sums, queued = torch.zeros((1, 2, 2, 3), dtype=torch.int16), 0

    def layers():
        nonlocal queued
        for number in range(3):
            queued += 1
            sums.fill_(number)  # the same memory each time
            yield Layer(3 * number, sums, torch.tensor(float(number)))

    found = [(layer, queued, Event.waited) for layer in cuda.download(layers())]

    assert [(queued, waited) for _, queued, waited in found] == [(2, 1), (3, 2), (3, 3)]
    for number, (layer, _, _) in enumerate(found):
        assert (layer.first, float(layer.total)) == (3 * number, number)
        assert isinstance(layer.sums, np.ndarray)
        assert (layer.sums == number).all()


def test_there_may_be_no_layer(cuda: TorchArrays) -> None:
    assert list(cuda.download(iter(()))) == []


def test_on_the_cpu_nothing_is_copied() -> None:
    arrays, image = TorchArrays(torch.device("cpu")), np.zeros((1, 2, 2, 3), np.int16)
    there = arrays.upload(image)

    (layer,) = arrays.download(iter([Layer(0, there, torch.tensor(1.0))]))

    assert np.shares_memory(image, layer.sums)


@pytest.mark.parametrize(("kind", "expected"), [("cuda", ["pinned", True]), ("mps", [False])])
def test_only_a_copy_from_pinned_memory_goes_on_beside(monkeypatch, kind: str, expected: list) -> None:
    """Else the copy to a GPU waits for its queue, and one to MPS may read memory that is used anew."""
    calls: list[object] = []

    def pin(array: torch.Tensor) -> torch.Tensor:
        calls.append("pinned")
        return array

    def send(array: torch.Tensor, _device: torch.device, *, non_blocking: bool) -> torch.Tensor:
        calls.append(non_blocking)
        return array

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    monkeypatch.setattr(torch.Tensor, "to", send)

    TorchArrays(torch.device(kind)).upload(np.zeros(3))

    assert calls == expected
