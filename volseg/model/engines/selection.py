"""Which engine is the best here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from volseg.errors import UserError
from volseg.model.engines import Engine, Format, OnnxRuntime, OpenVINO, Torch
from volseg.system.hardware import has_gpu

ENGINES: dict[str, Engine] = {one.name: one for one in (Torch(), OpenVINO(), OnnxRuntime())}
Wanted = Literal["auto", "torch", "openvino", "onnxruntime"]


@dataclass(frozen=True)
class EngineSelection:
    """An engine, and why this one."""

    engine: Engine
    reason: str


def choose_engine(wanted: Wanted, formats: Sequence[Format]) -> EngineSelection:
    """The engine of this name, or the best one that reads one of these formats and is installed.

    Raises:
        UserError: it reads none of them, or isn't installed.
    """
    if wanted != "auto":
        return EngineSelection(_named_engine(wanted, formats), "as --engine says")
    if "torch" in formats and not Torch().missing and _torch_has_a_gpu():
        return EngineSelection(Torch(), "there is a GPU")
    reading = [e for e in (OpenVINO(), OnnxRuntime(), Torch()) if set(e.reads) & set(formats)]
    only = f"the package holds {formats[0]}" if len(formats) == 1 else ""
    ready = only or "the fastest without a GPU"
    for engine in reading:
        if not engine.missing:
            without = ", ".join(other.missing for other in reading[: reading.index(engine)])
            return EngineSelection(engine, f"{without} is not installed" if without else ready)
    needed = " or ".join(engine.missing for engine in reading)
    raise UserError(f"this package needs {needed}; `pip install {reading[0].missing}`")


def _torch_has_a_gpu() -> bool:
    """Torch is asked, which takes seconds, only where there seems to be one."""
    if not has_gpu():
        return False
    import torch

    return torch.cuda.is_available()


def _named_engine(wanted: Wanted, formats: Sequence[Format]) -> Engine:
    engine = ENGINES[wanted]
    if not set(engine.reads) & set(formats):
        raise UserError(
            f"--engine {wanted}: reads {' and '.join(engine.reads)}, and this package holds "
            f"{' and '.join(formats)}; leave --engine out"
        )
    if engine.missing:
        raise UserError(
            f"--engine {wanted}: {engine.missing} is not installed; `pip install {engine.missing}`"
        )
    return engine
