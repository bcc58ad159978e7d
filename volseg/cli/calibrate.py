"""The command `volseg calibrate`."""

from pathlib import Path

from volseg.arguments import DeviceName, InferArguments
from volseg.cli import output


def calibrate(run: str | None = None, /, *, data: Path | None = None, device: DeviceName = None) -> None:
    """Calibrate a run's confidence on its validation scans, and measure the usual features of its classes.

    It writes calibration.json into the run; `volseg infer` then gives a calibrated confidence.

    Args:
        run: A run's name under runs/, or its path; by default the newest. Five folds are taken together.
        data: The prepared dataset that it was trained on, if that is no longer where it was.
        device: cpu, cuda, cuda:1 (the second GPU) or mps; by default a GPU if there is one.
    """
    output.configure_console()
    from volseg.calibration import calibrate as stage
    from volseg.calibration import tables

    path, result = stage.calibrate(run, data, InferArguments(device=device))
    output.print_table(tables.calibration_table(result))
    for note in tables.calibration_notes(result):
        output.message(f"note: {note}")
    basis = f"{result.scans} scans of {result.cases} cases, which chose the weights too"
    print(f"{path}: calibrated on {basis}; the figures after are each of cases left out of it")
