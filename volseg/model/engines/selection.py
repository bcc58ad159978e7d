"""The choice of the engine that suits this machine."""

from collections.abc import Sequence
from dataclasses import dataclass

from volseg.errors import UserError
from volseg.model.engines import Engine, Format, OnnxRuntime, OpenVINO, Torch
from volseg.schema import build_component
from volseg.system.hardware import has_gpu


@dataclass(frozen=True)
class EngineSelection:
    """An engine, and the reason of its choice."""

    engine: Engine
    reason: str


def choose_engine(name: str, formats: Sequence[Format], device: str | None = None) -> EngineSelection:
    """The engine of this name or, of "auto", the best installed one that reads one of these formats.

    `device` is where it runs, by name; None is a GPU if there is one, else the CPU.

    Raises:
        UserError: no such engine, or it reads none of them, isn't installed, or does not run there.
    """
    if name != "auto":
        return EngineSelection(_named_engine(name, formats, device), "as --engine says")
    if device not in (None, "cpu"):
        return EngineSelection(_gpu_engine(formats, device), "as --device says")
    if device is None and "torch" in formats and not Torch().missing and _torch_has_a_gpu():
        return EngineSelection(Torch(), "there is a GPU")
    candidates = [e for e in (OpenVINO(), OnnxRuntime(), Torch()) if set(e.reads) & set(formats)]
    default = f"the package holds {formats[0]}" if len(formats) == 1 else "the fastest without a GPU"
    for position, engine in enumerate(candidates):
        if not engine.missing:
            without = ", ".join(better.missing for better in candidates[:position])
            return EngineSelection(engine, f"{without} is not installed" if without else default)
    needed = " or ".join(engine.missing for engine in candidates)
    raise UserError(f"this package needs {needed}; `pip install {candidates[0].missing}`")


def _torch_has_a_gpu() -> bool:
    """Whether torch can use a GPU; torch, which takes seconds to load, is asked only if there may be one.

    A GPU that it can't use is told.
    """
    if not has_gpu():
        return False
    import torch

    from volseg.model.engines.device_selection import warn_of_unused_gpu

    warn_of_unused_gpu(None)
    return torch.cuda.is_available()


def _gpu_engine(formats: Sequence[Format], device: str | None) -> Engine:
    """The only engine for GPUs."""
    if "torch" not in formats:
        raise UserError(
            f"--device {device}: only torch runs there, and this package holds {' and '.join(formats)}; "
            "leave --device out"
        )
    return _named_engine("torch", formats, device)


def _named_engine(name: str, formats: Sequence[Format], device: str | None) -> Engine:
    engine: Engine = build_component(Engine, {"name": name}, "--engine")
    if not engine.on_devices and device not in (None, "cpu"):
        raise UserError(
            f"--device {device}: {name} runs on the CPU only; leave --device out or take --engine torch"
        )
    if not set(engine.reads) & set(formats):
        raise UserError(
            f"--engine {name}: reads {' and '.join(engine.reads)}, and this package holds "
            f"{' and '.join(formats)}; leave --engine out"
        )
    if engine.missing:
        raise UserError(f"--engine {name}: {engine.missing} is not installed; `pip install {engine.missing}`")
    return engine
