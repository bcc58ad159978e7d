"""The command `volseg demo`."""

from pathlib import Path

from volseg.arguments import DeviceName
from volseg.cli import output


def demo(*, out: Path = Path("demo"), seed: int = 0, device: DeviceName = None) -> None:
    """Make a phantom dataset with case123 and run every stage on it, in about two minutes.

    Args:
        out: The folder for everything the demo writes.
        seed: Other seeds draw other patients and start from other weights.
        device: cpu, cuda, cuda:1 (the second GPU) or mps; by default a GPU if there is one.
    """
    output.configure_console()
    from volseg import demo as stage

    result = stage.demo(out, seed=seed, device=device)
    output.print_table(result.table)
    for path, text in result.paths.items():
        print(f"{path}  {text}")
