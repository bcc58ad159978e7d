"""OpenVINO: the fastest on CPUs, and it starts without torch."""

import sys
from collections import deque
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from volseg.errors import UserError
from volseg.model.engines.interface import (
    LARGEST,
    EngineOptions,
    Format,
    Precision,
    Sums,
    TrainedModel,
    WeightedWindow,
    check_finite,
)
from volseg.schema import Section


def import_openvino() -> Any:
    """The module; what sends telemetry can't be imported any more, and OpenVINO and NNCF do without it."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino as module

    return module


@cache
def openvino_core() -> Any:
    """The one OpenVINO core of this process, kept to its end.

    On processors with AMX each core puts a stack for signals in place of the last one, and gives that
    back when it goes: of two that go in the order in which they came, the second leaves the process a
    stack that is no more, and its next signal, such as Ctrl-C, ends in a segmentation fault.
    """
    return import_openvino().Core()


class OpenVINO(Section):
    """OpenVINO on the CPU, in bf16 where the processor has it."""

    name: Literal["openvino"] = "openvino"
    reads: ClassVar[tuple[Format, ...]] = ("openvino", "onnx")

    @property
    def missing(self) -> str:
        """What must be installed first; empty if nothing."""
        return "" if find_spec("openvino") else "openvino"

    def load(self, model: TrainedModel, work: EngineOptions) -> "OpenVINONetwork":
        """The network, compiled for this processor; what was compiled is kept beside its file.

        Raises:
            UserError: a file that is missing, damaged or of another network.
        """
        kept = model.formats[0] if model.formats[0] in self.reads else "openvino"
        file = model.file(kept)
        try:
            network = openvino_core().read_model(file)
            network.reshape([1, model.inputs, *model.window])
            compiled = openvino_core().compile_model(
                _with_weighted_output(network), "CPU", _compile_properties(file, model, work)
            )
        except RuntimeError as error:
            raise UserError(f"{file}: OpenVINO can't use it ({_error_reason(error)})") from error
        return OpenVINONetwork(compiled, work, in_8_bits=_is_quantised(network))


class OpenVINONetwork:
    """A compiled network; some windows are in work while another's logits are used."""

    def __init__(self, compiled: Any, work: EngineOptions, *, in_8_bits: bool = False) -> None:
        precision = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        self._compiled = compiled  # outlives its requests
        self.kind = f"openvino {'int8 and ' * in_8_bits}{precision}"
        self._threads = work.cores
        waiting = 2  # beside those in work, lest a core waits while logits are used
        count = int(compiled.get_property("NUM_STREAMS")) + waiting
        self._requests = [compiled.create_infer_request() for _ in range(count)]

    def parts(self, windows: Iterator[WeightedWindow]) -> Iterator[Sums]:
        """What each window adds to the sums (K, X, Y, Z), in order."""
        free, running = deque(self._requests), deque[Any]()
        try:
            for image, weight in windows:
                if not free:
                    yield self._finished_sums(running[0])
                    free.append(running.popleft())
                request = free.popleft()
                np.copyto(request.get_input_tensor(0).data[0], image)
                np.copyto(request.get_input_tensor(1).data[0, 0], weight)
                request.start_async()
                running.append(request)
            while running:
                yield self._finished_sums(running[0])
                running.popleft()
        finally:
            for request in running:
                request.wait()

    def _finished_sums(self, request: Any) -> Sums:
        request.wait()
        check_finite(float(request.get_output_tensor(1).data), self)
        part: Sums = request.get_output_tensor(0).data[0]
        return part

    def __str__(self) -> str:
        return self.kind.replace(" ", f", cpu ({self._threads} threads), ", 1)


def _with_weighted_output(network: Any) -> Any:
    """The network with `windows.counted` behind it: its second input is the weight, (1, 1, X, Y, Z).

    The outputs are what a window adds, and the sum of its logits.
    """
    from openvino import Model, opset13

    logits = network.output(0).get_node().input_value(0)
    sides = list(logits.get_partial_shape().to_shape())[2:]
    weight = opset13.parameter([1, 1, *sides], np.float32)
    part = opset13.multiply(opset13.clamp(logits, -LARGEST, LARGEST), weight)
    whole = opset13.convert(opset13.round(part, "half_to_even"), "i16")
    total = opset13.reduce_sum(logits, np.arange(5), keep_dims=False)
    return Model([whole, total], [*network.get_parameters(), weight])


def _compile_properties(file: Path, model: TrainedModel, work: EngineOptions) -> dict[str, Any]:
    return {
        "INFERENCE_PRECISION_HINT": _inference_precision(model.precision),
        "INFERENCE_NUM_THREADS": work.cores,
        "NUM_STREAMS": work.at_once or stream_count(work.cores),
        "CACHE_DIR": str(file.parent / "compiled"),
    }


def stream_count(cores: int) -> int:
    """Windows in work at a time: two on few cores, more where each still has four."""
    return min(2, cores) if cores < 8 else cores // 4


def _inference_precision(wanted: Precision) -> str:
    has_bfloat16 = "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "bf16" if has_bfloat16 and wanted != "fp32" else "f32"


def _is_quantised(network: Any) -> bool:
    """Whether it was quantised."""
    return any(step.get_type_name() == "FakeQuantize" for step in network.get_ops())


def _error_reason(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
