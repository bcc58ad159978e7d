"""OpenVINO without its telemetry, which would tell its maker of each conversion."""

import sys
from typing import Any


def openvino() -> Any:
    """The module; what sends telemetry can't be imported any more, and OpenVINO and NNCF do without it."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino as module

    return module
