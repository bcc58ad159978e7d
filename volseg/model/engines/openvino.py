"""The engine OpenVINO: the fastest on CPUs, and it starts without torch."""

import sys
from collections import deque
from collections.abc import Iterator
from functools import cache
from typing import Any, ClassVar, Literal

import numpy as np

from volseg.errors import UserError
from volseg.formatting import format_count
from volseg.model.engines.interface import (
    LARGEST,
    EngineOptions,
    Format,
    LibraryEngine,
    NumpyArrays,
    TrainedModel,
    WeightedLogits,
    WeightedWindow,
)


def import_openvino() -> Any:
    """The module openvino, whose telemetry is kept from being imported; it and NNCF do without."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino as module

    return module


@cache
def openvino_core() -> Any:
    """The only OpenVINO core of this process, kept to its end.

    On processors with AMX each core replaces the stack for signals, and restores the last one when it is
    deleted. Of two cores that are deleted in the order of their creation the second restores a stack that
    is freed, and the next signal, such as Ctrl-C, ends in a segmentation fault.
    """
    return import_openvino().Core()


class OpenVINO(LibraryEngine):
    """OpenVINO on the CPU, in bf16 where the processor has it."""

    name: Literal["openvino"] = "openvino"
    reads: ClassVar[tuple[Format, ...]] = ("openvino", "onnx")

    def load(self, model: TrainedModel, work: EngineOptions) -> "OpenVINONetwork":
        """The network, compiled for this processor."""
        file = model.file(model.formats[0] if model.formats[0] in self.reads else "openvino")
        try:
            network = openvino_core().read_model(file)
            network.reshape([1, model.inputs, *model.window])
            compiled = openvino_core().compile_model(
                _with_weighted_output(network), "CPU", _compile_properties(model, work)
            )
        except RuntimeError as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            reason = lines[-1].strip() if lines else type(error).__name__
            raise UserError(f"{file}: OpenVINO can't use it ({reason})") from error
        in_8_bits = any(step.get_type_name() == "FakeQuantize" for step in network.get_ops())
        return OpenVINONetwork(compiled, work, in_8_bits=in_8_bits)


class OpenVINONetwork:
    """A compiled network; some windows are computed while another's logits are used."""

    arrays = NumpyArrays()

    def __init__(self, compiled: Any, work: EngineOptions, *, in_8_bits: bool = False) -> None:
        precision = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        self._compiled = compiled  # outlives its requests
        self.kind = f"openvino {'int8 and ' * in_8_bits}{precision}"
        self._threads = work.cores
        count = int(compiled.get_property("NUM_STREAMS")) + 2  # lest a core waits while logits are used
        self._requests = [compiled.create_infer_request() for _ in range(count)]

    def parts(self, windows: Iterator[WeightedWindow]) -> Iterator[WeightedLogits]:
        """The weighted logits of each window, in order."""
        free, running = deque(self._requests), deque[Any]()
        try:
            for image, weight in windows:
                if not free:
                    yield _finished_logits(running[0])
                    free.append(running.popleft())
                request = free.popleft()
                np.copyto(request.get_input_tensor(0).data[0], image)
                np.copyto(request.get_input_tensor(1).data[0, 0], weight)
                request.start_async()
                running.append(request)
            while running:
                yield _finished_logits(running[0])
                running.popleft()
        finally:
            for request in running:
                request.wait()

    def __str__(self) -> str:
        return self.kind.replace(" ", f", cpu ({format_count(self._threads, 'thread')}), ", 1)


def _finished_logits(request: Any) -> WeightedLogits:
    request.wait()
    return WeightedLogits(request.get_output_tensor(0).data[0], request.get_output_tensor(1).data)


def _with_weighted_output(network: Any) -> Any:
    """The network followed by `weighted_logits`; its second input is the weights, (1, 1, X, Y, Z).

    The outputs are the weighted logits of a window, and the sum of its logits.
    """
    from openvino import Model, opset13

    logits = network.output(0).get_node().input_value(0)
    sides = list(logits.get_partial_shape().to_shape())[2:]
    weight = opset13.parameter([1, 1, *sides], np.float32)
    product = opset13.multiply(opset13.clamp(logits, -LARGEST, LARGEST), weight)
    rounded = opset13.convert(opset13.round(product, "half_to_even"), "i16")
    total = opset13.reduce_sum(logits, np.arange(5), keep_dims=False)
    return Model([rounded, total], [*network.get_parameters(), weight])


def _compile_properties(model: TrainedModel, work: EngineOptions) -> dict[str, Any]:
    has_bfloat16 = "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return {
        "INFERENCE_PRECISION_HINT": "bf16" if has_bfloat16 and model.precision != "fp32" else "f32",
        "INFERENCE_NUM_THREADS": work.cores,
        "NUM_STREAMS": work.at_once or stream_count(work.cores),
    }


def stream_count(cores: int) -> int:
    """Windows computed at a time: two on few cores, more where each of them still has four."""
    return min(2, cores) if cores < 8 else cores // 4
