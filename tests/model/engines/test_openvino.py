import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def test_telemetry_is_out_of_reach_of_conversion_and_of_quantisation() -> None:
    code = (
        "import sys; from volseg.model.engines.openvino import import_openvino;"
        "import_openvino(); import nncf;"
        "import openvino.tools.ovc.convert_impl;"
        "print([name for name in sys.modules if name.startswith('openvino_telemetry')"
        " and sys.modules[name] is not None])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert told.stdout.strip().endswith("[]")


SIGNAL = """
import gc, os, signal, sys
from pathlib import Path
import numpy as np
from openvino import Model as Graph, opset13, save_model
from volseg.model.engines import EngineOptions, OpenVINO, TrainedModel

file = Path(sys.argv[1])
image = opset13.parameter([1, 1, 4, 4, 4], np.float32)
save_model(Graph([opset13.relu(image)], [image]), file)
model = TrainedModel(("openvino",), (4, 4, 4), 1, "fp32", None, lambda kind: file)
first, second = (OpenVINO().load(model, EngineOptions(1)) for _ in range(2))
del first
gc.collect()
del second
gc.collect()
signal.signal(signal.SIGUSR1, lambda *_: print("heard"))
os.kill(os.getpid(), signal.SIGUSR1)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="signals of POSIX")
def test_a_signal_is_heard_when_two_networks_have_come_and_gone(tmp_path: Path) -> None:
    """Each core that went left its stack for signals behind: a segmentation fault, where there is AMX."""
    words = [sys.executable, "-c", SIGNAL, tmp_path / "model.xml"]

    told = subprocess.run(words, capture_output=True, text=True, check=False)

    assert (told.returncode, told.stdout.strip()) == (0, "heard")
