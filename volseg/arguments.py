"""The options of the larger commands: filled by the command line, read by the command's function."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from cyclopts import Parameter

from volseg.errors import UserError

DATA, PREDICTIONS, RUNS = Path("data/prepared"), Path("predictions"), Path("runs")
Value = TypeVar("Value")
Many = Annotated[tuple[Value, ...], Parameter(show_default=False, consume_multiple=True)]
SPLITS = Literal["unseen_cases", "later_days", "hold_out", "train", "test"]
Fold = int | Literal["all"]
NetworkName = Literal["unet", "dynunet", "segresnet", "swinunetr"]


def parse_duration(text: str) -> float:
    """`90s`, `30m` or `2h` in seconds.

    Raises:
        UserError: anything else.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if not match or not float(match[1]):
        raise UserError(f"--max-time: {text!r} is no time; expected e.g. 90s, 30m or 2h")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


def parse_memory(text: str) -> int:
    """`800MB`, `8GB` or `8GiB` in bytes.

    Raises:
        UserError: anything else.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?) *([MGT])(i?)B?", text, re.IGNORECASE)
    if not match or not float(match[1]):
        raise UserError(f"--max-memory: {text!r} is no amount of memory; expected e.g. 800MB, 8GB or 12GiB")
    power = {"M": 2, "G": 3, "T": 4}[match[2].upper()]
    return int(float(match[1]) * (1024 if match[3] else 1000) ** power)


def run_folder(text: str) -> Path:
    """The folder of a run to be trained: a name stands below runs/, a path for itself."""
    return Path(text) if "/" in text else RUNS / text


def _read_by(parse: Callable[[str], object], name: str) -> Parameter:
    """An option of this name whose text a function turns into its value."""
    return Parameter(name, converter=lambda _type, tokens: parse(tokens[0].value), metavar="STR")


MAX_TIME, MAX_MEMORY = _read_by(parse_duration, "--max-time"), _read_by(parse_memory, "--max-memory")


def _check_overlap(_type: object, overlap: float | None) -> None:
    """Refuse an overlap that isn't a share.

    Raises:
        UserError: below 0, or 0.95 and more.
    """
    if overlap is not None and not 0 <= overlap < 0.95:
        raise UserError(f"--overlap: {overlap:g} is no share from 0 to 0.94, e.g. 0.5")


@Parameter(name="*")
@dataclass(frozen=True)
class PrepareArguments:
    """Options of prepare."""

    layout: str = "gi-tract"
    """How the source is laid out: `volseg options layout` lists them."""
    out: Path = DATA
    """The folder for the volumes and dataset.json."""
    workers: int | None = None
    """Processes; by default one a core."""
    check: bool = False
    """Read everything, write nothing, report all that is wrong or odd."""
    json: bool = False
    """Print the findings as JSON on stdout."""
    strict: bool = False
    """Stop before anything is written if any scan has a fault."""
    allow_gaps: bool = False
    """Take scans with missing slices as they are."""
    slice_mm: float | None = None
    """Distance of slices in mm, which their names do not contain; 3 by default."""
    classes: Many[str] = ()
    """The classes of train.csv, if not the competition's; with the layout nifti, those to keep."""
    exclude: Many[str] = ()
    """Scans to flag as excluded in addition to the data author's list of bad labels."""

    def layout_settings(self) -> dict[str, Any]:
        """The layout's settings that are not the defaults."""
        names = ("slice_mm", "allow_gaps", "classes")
        return {
            name: getattr(self, name) for name in names if getattr(self, name) != getattr(type(self), name)
        }


@Parameter(name="*")
@dataclass(frozen=True)
class TrainArguments:
    """Options of train."""

    data: Path = DATA
    """The prepared dataset."""
    run: Annotated[Path, _read_by(run_folder, "--run"), Parameter(show_default=False)] = RUNS
    """The run's name under runs/, or a path; by default the config's name."""
    fold: Annotated[
        Fold | Literal["each"], Parameter(choices=("0", "1", "2", "3", "4", "each", "all"), metavar="CHOICE")
    ] = 0
    """The fold kept for validation; `each` trains all five into one run, `all` trains on everything."""
    resume: bool = False
    """Go on with a run that was stopped."""
    weights: str | None = None
    """Start from the weights of a run, a MONAI bundle's folder or a file, as far as they fit."""
    max_seconds: Annotated[float | None, MAX_TIME] = None
    """Finish (each fold) within this time, e.g. 30m or 2h; the learning rate follows it."""
    devices: int = 1
    """GPUs to train on; without a GPU, processes. Torchrun and srun set the number themselves."""
    dry_run: bool = False
    """Write nothing; try a few steps and print the memory and time that training will take."""

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
    out: Path | None = None
    """The YAML file to write; by default it goes to stdout."""
    force: bool = False
    """Write over a file that is there."""


@Parameter(name="*")
@dataclass(frozen=True)
class InferArguments:
    """Options of infer: what to predict is one of case, all, split and input."""

    case: Many[str] = ()
    """A case (all its days) or one scan: case123 or case123_day20."""
    all: bool = False
    """Every scan of the dataset."""
    split: SPLITS | None = None
    """The scans of one of the run's sets, or the dataset's test part."""
    input: Many[Path] = ()
    """Volumes (NIfTI, mha, nrrd), folders of volumes, or folders of slices. Of several channels one file with
    a fourth dimension, or NAME_0000, NAME_0001 and so on."""
    allow_gaps: bool = False
    """Take folders with missing slices as they are."""
    slice_mm: float | None = None
    """Distance of slices in mm in folders of slices; by default as in the run's data, or 3."""
    run: Many[str] = ()
    """A run's name under runs/, or the path of a run or package; by default the newest. Several, or five
    folds, are averaged."""
    data: Path = DATA
    """The prepared dataset."""
    out: Path = PREDICTIONS
    """The folder for the masks."""
    engine: Literal["auto", "torch", "openvino", "onnxruntime"] = "auto"
    """What runs the network; auto takes a GPU by torch, else OpenVINO."""
    overlap: Annotated[float | None, Parameter(validator=_check_overlap)] = None
    """How far windows overlap, 0 to 0.94; more is slower and smoother. By default as the run says."""
    tta: Literal["flips"] | None = None
    """Average the mirrored views that training saw as well: two to eight times as long."""
    fast: bool = False
    """The least time: little overlap, and only the first of several networks."""
    body_box: Annotated[bool, Parameter(negative="--no-body-box")] = True
    """Leave out the air around the body; without it, windows are MONAI's over the whole scan."""
    force: bool = False
    """Replace also masks that were corrected by hand, that volseg did not write, or of another scan."""
    save_probabilities: bool = False
    """Write <class>_probability.nii.gz beside each mask."""
    max_memory: Annotated[int | None, MAX_MEMORY] = None
    """What predicting may take of the memory, e.g. 2GB."""
    timing: bool = False
    """Print where each scan's time went."""
    compile: bool = False
    """Let torch compile the network first: for many scans on a GPU."""


def _check_threshold(_type: object, threshold: float | None) -> None:
    """Refuse a threshold that isn't a probability above 0.

    Raises:
        UserError: 0 and below, or above 1.
    """
    if threshold is not None and not 0 < threshold <= 1:
        raise UserError(f"--threshold: {threshold:g} is no probability above 0 and up to 1, e.g. 0.5")


@Parameter(name="*")
@dataclass(frozen=True)
class MaskOptions:
    """Options of the commands that read masks of any tool."""

    threshold: Annotated[float | None, Parameter(validator=_check_threshold)] = None
    """Where masks are probabilities: the class is where they are at least this, e.g. 0.5."""
    resample: bool = False
    """Resample masks on another grid than their scan's onto it (nearest voxel; probabilities linearly)."""


@Parameter(name="*")
@dataclass(frozen=True)
class CompareArguments(MaskOptions):
    """Options of compare."""

    metric: str = "Dice"
    """A metric as scores.csv names it, such as Dice, HD95, NSD2 or Dice_labelled, or kaggle."""
    common: bool = False
    """Go on with the scans in both where one lacks some of the other."""


@Parameter(name="*")
@dataclass(frozen=True)
class ExportArguments:
    """Options of export."""

    format: Literal["openvino", "onnx", "torch"] = "openvino"
    """For what: OpenVINO is the fastest on CPUs, other programs read ONNX, torch needs torch."""
    out: Path | None = None
    """The package's folder; by default packages/RUN-FORMAT."""
    data: Path | None = None
    """A prepared dataset with scans to compare on; by default data/prepared, else a phantom's scan."""
    int8: bool = False
    """Compute in 8 bits if the masks stay as good on the scans that training did not see (OpenVINO)."""
    force: bool = False
    """Write over a package that is there."""
