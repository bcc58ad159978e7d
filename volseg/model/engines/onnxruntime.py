"""ONNX Runtime: for packages that other programs read as well."""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any, ClassVar, Literal

import numpy as np

from volseg.errors import UserError
from volseg.model.engines.interface import (
    EngineOptions,
    Format,
    Sums,
    TrainedModel,
    WeightedWindow,
    weighted_logits,
)
from volseg.schema import Section


class OnnxRuntime(Section):
    """ONNX Runtime on the CPU, in fp32."""

    name: Literal["onnxruntime"] = "onnxruntime"
    reads: ClassVar[tuple[Format, ...]] = ("onnx",)

    @property
    def missing(self) -> str:
        """What must be installed first; empty if nothing."""
        return "" if find_spec("onnxruntime") else "onnxruntime"

    def load(self, model: TrainedModel, work: EngineOptions) -> "OnnxNetwork":
        """The network in a session of its own.

        Raises:
            UserError: a file that is missing or damaged.
        """
        import onnxruntime

        file = model.file("onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = work.cores
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(file, options, ["CPUExecutionProvider"])
        except Exception as error:  # its errors share no class
            reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
            raise UserError(f"{file}: ONNX Runtime can't use it ({reason[0]})") from error
        return OnnxNetwork(session, work.cores)


class OnnxNetwork:
    """A session, which takes one window at a time."""

    def __init__(self, session: Any, cores: int) -> None:
        self.kind = "onnxruntime fp32"
        self._session = session
        self._cores = cores
        self._input = session.get_inputs()[0].name

    def parts(self, windows: Iterator[WeightedWindow]) -> Iterator[Sums]:
        """What each window adds to the sums (K, X, Y, Z), in order."""
        for image, weight in windows:
            batch = np.ascontiguousarray(image)[None]
            logits = self._session.run(None, {self._input: batch})[0][0]
            yield weighted_logits(logits, weight, self)

    def __str__(self) -> str:
        return f"onnxruntime, cpu ({self._cores} threads), fp32"
