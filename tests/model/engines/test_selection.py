import pytest
import torch

from volseg.errors import UserError
from volseg.model.engines import OnnxRuntime, OpenVINO, Torch, device_selection, interface, selection
from volseg.model.engines.device_selection import warn_of_unused_gpu
from volseg.model.engines.selection import choose_engine

EVERY = ("torch", "openvino", "onnx")


@pytest.fixture
def installed(monkeypatch):
    """What is installed here and whether there is a GPU, for one test."""

    def only(*names: str, gpu: bool = False) -> None:
        monkeypatch.setattr(interface, "find_spec", lambda name: name in names or None)
        monkeypatch.setattr(selection, "_torch_has_a_gpu", lambda: gpu)

    return only


@pytest.mark.parametrize(
    ("there", "gpu", "formats", "expected", "reason"),
    [
        (("torch", "openvino"), True, EVERY, Torch(), "there is a GPU"),
        (("torch", "openvino"), False, EVERY, OpenVINO(), "the fastest without a GPU"),
        (("torch",), False, EVERY, Torch(), "openvino, onnxruntime is not installed"),
        (("torch", "openvino"), True, ("openvino",), OpenVINO(), "the package holds openvino"),
        (("openvino", "onnxruntime"), False, ("onnx",), OpenVINO(), "the package holds onnx"),
        (("onnxruntime",), False, ("onnx",), OnnxRuntime(), "openvino is not installed"),
    ],
)
def test_the_best_engine_that_is_there_is_taken_and_says_why(
    installed, there, gpu, formats, expected, reason
) -> None:
    installed(*there, gpu=gpu)

    chosen = choose_engine("auto", formats)

    assert (chosen.engine, chosen.reason) == (expected, reason)


@pytest.mark.parametrize(
    ("wanted", "formats", "message"),
    [
        ("openvino", EVERY, "--engine openvino: openvino is not installed; `pip install openvino`"),
        ("torch", ("onnx",), "--engine torch: reads torch, and this package holds onnx"),
        ("auto", ("openvino",), "this package needs openvino; `pip install openvino`"),
    ],
)
def test_an_engine_that_can_not_work_is_refused(installed, wanted, formats, message) -> None:
    installed("torch")

    with pytest.raises(UserError, match=message):
        choose_engine(wanted, formats)


@pytest.mark.parametrize("engine", ["auto", "openvino"])
def test_on_the_cpu_by_name_a_gpu_changes_nothing(installed, engine) -> None:
    installed("torch", "openvino", gpu=True)

    assert choose_engine(engine, EVERY, "cpu").engine == OpenVINO()


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps"])
def test_a_named_gpu_is_for_torch(installed, device) -> None:
    installed("torch", "openvino")

    chosen = choose_engine("auto", EVERY, device)

    assert (chosen.engine, chosen.reason) == (Torch(), "as --device says")


@pytest.mark.parametrize(
    ("engine", "formats", "message"),
    [
        ("openvino", EVERY, "--device cuda: openvino runs on the CPU only; leave --device "),
        ("onnxruntime", EVERY, "--device cuda: onnxruntime runs on the CPU only; leave --device "),
        ("auto", ("onnx",), "--device cuda: only torch runs there, and this package holds onnx; leave "),
    ],
)  # fmt: skip
def test_a_gpu_for_an_engine_that_has_none_is_refused(installed, engine, formats, message) -> None:
    installed("torch", "openvino", "onnxruntime")

    with pytest.raises(UserError, match=f"^{message}"):
        choose_engine(engine, formats, "cuda")


@pytest.mark.parametrize("usable", [False, True])
def test_a_gpu_that_torch_can_not_use_leaves_the_choice_as_on_a_cpu_and_is_told(
    monkeypatch, caplog, usable
) -> None:
    warn_of_unused_gpu.cache_clear()
    monkeypatch.setattr(selection, "has_gpu", lambda: True)
    monkeypatch.setattr(device_selection, "has_gpu", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: usable)

    chosen = choose_engine("auto", EVERY)

    warn_of_unused_gpu.cache_clear()
    assert chosen.engine == (Torch() if usable else OpenVINO())
    assert ["there seems to be a GPU" in line for line in caplog.messages] == ([] if usable else [True])


def test_a_named_engine_is_taken(installed) -> None:
    installed("torch", "openvino")

    assert choose_engine("torch", EVERY).engine == Torch()
