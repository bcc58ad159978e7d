"""OpenVINO without its telemetry, which would tell its maker of each conversion."""

import sys
from functools import cache
from typing import Any


def openvino() -> Any:
    """The module; what sends telemetry can't be imported any more, and OpenVINO and NNCF do without it."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino as module

    return module


@cache
def core() -> Any:
    """The one OpenVINO core of this process, kept to its end.

    On processors with AMX each core puts a stack for signals in place of the last one, and gives that
    back when it goes: of two that go in the order in which they came, the second leaves the process a
    stack that is no more, and its next signal, such as Ctrl-C, ends in a segmentation fault.
    """
    return openvino().Core()
