import pytest

from volseg.errors import UserError
from volseg.model.engines import OnnxRuntime, OpenVINO, Torch, interface, selection
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


def test_a_named_engine_is_taken(installed) -> None:
    installed("torch", "openvino")

    assert choose_engine("torch", EVERY).engine == Torch()
