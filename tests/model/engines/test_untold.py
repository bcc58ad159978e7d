import subprocess
import sys


def test_telemetry_is_out_of_reach_of_conversion_and_of_quantisation() -> None:
    code = (
        "import sys; from volseg.model.engines.untold import openvino; openvino(); import nncf;"
        "import openvino.tools.ovc.convert_impl;"
        "print([name for name in sys.modules if name.startswith('openvino_telemetry')"
        " and sys.modules[name] is not None])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert told.stdout.strip().endswith("[]")
