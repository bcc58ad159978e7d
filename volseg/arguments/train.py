"""The options of `volseg train` and `volseg plan`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from volseg.arguments.groups import MACHINE, OUTPUT, QUALITY, WHAT
from volseg.arguments.values import DATA, MAX_MEMORY, MAX_TIME, RUNS, DeviceName, Fold, read_by, run_folder

NetworkName = Literal["unet", "dynunet", "resenc", "mednext", "segresnet", "swinunetr", "unet25d"]


@Parameter(name="*")
@dataclass(frozen=True)
class TrainArguments:
    """Options of train."""

    data: Annotated[Path | None, WHAT] = None
    """The prepared dataset; by default data/prepared, or that of a run that goes on."""
    run: Annotated[Path, read_by(run_folder, "--run"), Parameter(show_default=False), OUTPUT] = RUNS
    """The run's name under runs/, or a path; by default the config's name."""
    fold: Annotated[
        Fold | Literal["each"],
        Parameter(choices=("0", "1", "2", "3", "4", "each", "all"), metavar="CHOICE"),
        WHAT,
    ] = 0
    """The fold kept for validation; `each` trains all five into one run, `all` trains on everything."""
    resume: Annotated[bool, WHAT] = False
    """Go on with a run that was stopped, by the overrides it was begun with; train.steps=N extends it."""
    weights: Annotated[str | None, WHAT] = None
    """Start from the weights of a run, a MONAI bundle's folder or a file, as far as they fit."""
    max_seconds: Annotated[float | None, MAX_TIME, QUALITY] = None
    """Finish (each fold) within this time, e.g. 30m or 2h; the learning rate follows it."""
    devices: Annotated[int, MACHINE] = 1
    """GPUs to train on; without a GPU, processes. Torchrun and srun set the number themselves."""
    device: Annotated[DeviceName, MACHINE] = None
    """cpu, cuda, cuda:1 (the second GPU) or mps; by default a GPU if there is one."""
    dry_run: Annotated[bool, MACHINE] = False
    """Write nothing; try a few steps and print the memory and time that training will take."""
    gpu: Annotated[str | None, MACHINE] = None
    """With --dry-run: forecast it for a GPU that isn't here, e.g. T4, 4090, A100 or 24GB, without trying."""
    overrides: Annotated[tuple[str, ...], Parameter(parse=False)] = ()
    """The settings, section.key=value, that are in the config already: for the run to remember."""

    @property
    def dataset(self) -> Path:
        """The prepared dataset."""
        return self.data or DATA

    @property
    def first_fold(self) -> Fold:
        """The fold of a single training: the first of `each`."""
        return 0 if self.fold == "each" else self.fold


@Parameter(name="*")
@dataclass(frozen=True)
class PlanArguments:
    """Options of plan."""

    data: Path = DATA
    """The prepared dataset."""
    max_memory: Annotated[int | None, MAX_MEMORY] = None
    """Memory for training, a GPU's where there is one, e.g. 8GB; by default what is free."""
    max_seconds: Annotated[float | None, MAX_TIME] = None
    """How long training may take, e.g. 30m or 2h: it sets the steps."""
    network: NetworkName = "unet"
    """The kind of network."""
    device: DeviceName = None
    """What training will run on: cpu, cuda, cuda:1 or mps; by default a GPU if there is one."""
    gpu: str | None = None
    """Plan for a GPU that isn't here, by a forecast in place of trials: T4, 4090, A100 or 24GB."""
    out: Path | None = None
    """The YAML file to write; by default it goes to stdout."""
    force: bool = False
    """Write over a file that is there."""
