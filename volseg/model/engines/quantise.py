"""From an OpenVINO file to one that computes in 8 bits, by NNCF's post-training quantisation."""

import logging
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from volseg.errors import UserError
from volseg.inference.sliding_window import Floats
from volseg.model.engines.untold import core, openvino


def quantise(file: Path, windows: Sequence[Floats], out: Path) -> None:
    """Write a network in 8 bits, whose ranges are those seen on windows (C, X, Y, Z).

    Raises:
        UserError: the network can't be quantised.
    """
    library = openvino()  # before NNCF loads it
    import nncf

    logging.getLogger("nncf").setLevel(logging.ERROR)
    batches = nncf.Dataset([window[None] for window in windows])
    try:
        model = core().read_model(file)
        with redirect_stdout(StringIO()):  # it draws progress bars there
            made = nncf.quantize(
                model, batches, preset=nncf.QuantizationPreset.MIXED, subset_size=len(windows)
            )
    except (RuntimeError, nncf.ValidationError, nncf.InternalError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise UserError(
            f"--int8: the network can't be quantised ({reason}); leave --int8 out"
        ) from error
    library.save_model(made, out, compress_to_fp16=False)
