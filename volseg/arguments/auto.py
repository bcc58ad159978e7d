"""The options of `volseg train auto`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from volseg.arguments.train import NetworkName, PlanArguments
from volseg.arguments.values import DATA, MAX_TIME, RUNS, DeviceName, Fold, read_by, run_folder


@Parameter(name="*")
@dataclass(frozen=True)
class AutoArguments:
    """Options of train auto."""

    data: Path = DATA
    """The prepared dataset."""
    run: Annotated[Path, read_by(run_folder, "--run"), Parameter(show_default=False)] = RUNS / "auto"
    """The run's name under runs/, or a path; by default auto."""
    max_seconds: Annotated[float | None, MAX_TIME] = None
    """The time for everything, e.g. 30m or 2h: the plan, training, and what follows it."""
    network: NetworkName = PlanArguments.network
    """The kind of network."""
    fold: Annotated[
        Fold | Literal["each"], Parameter(choices=("0", "1", "2", "3", "4", "each", "all"), metavar="CHOICE")
    ] = 0
    """The fold kept for validation; `each` trains all five, each in a fifth of the time."""
    resume: bool = False
    """Go on with a run that was stopped; the time that it has had counts."""
    devices: int = 1
    """GPUs to train on; without a GPU, processes."""
    device: DeviceName = None
    """cpu, cuda, cuda:1 (the second GPU) or mps; by default a GPU if there is one."""
