"""The engine ONNX Runtime, for packages that other programs read as well."""

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import numpy as np

from volseg.errors import UserError
from volseg.formatting import format_count
from volseg.model.engines.interface import (
    EngineOptions,
    Format,
    LibraryEngine,
    NumpyArrays,
    TrainedModel,
    WeightedLogits,
    WeightedWindow,
    weighted_logits,
)


class OnnxRuntime(LibraryEngine):
    """ONNX Runtime on the CPU, in fp32."""

    name: Literal["onnxruntime"] = "onnxruntime"
    reads: ClassVar[tuple[Format, ...]] = ("onnx",)

    def load(self, model: TrainedModel, work: EngineOptions) -> "OnnxNetwork":
        """The network in a session."""
        import onnxruntime

        file = model.file("onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = work.cores
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(file, options, ["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's errors share no class
            reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
            raise UserError(f"{file}: ONNX Runtime can't use it ({reason[0]})") from error
        return OnnxNetwork(session, work.cores)


class OnnxNetwork:
    """A network in a session, which takes one window at a time."""

    arrays = NumpyArrays()

    def __init__(self, session: Any, cores: int) -> None:
        self.kind = "onnxruntime fp32"
        self._session = session
        self._cores = cores
        self._input = session.get_inputs()[0].name

    def parts(self, windows: Iterator[WeightedWindow]) -> Iterator[WeightedLogits]:
        """The weighted logits of each window, in order."""
        for image, weight in windows:
            logits = self._session.run(None, {self._input: np.ascontiguousarray(image)[None]})[0][0]
            yield weighted_logits(logits, weight)

    def __str__(self) -> str:
        return f"onnxruntime, cpu ({format_count(self._cores, 'thread')}), fp32"
