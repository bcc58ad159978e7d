"""The options of `volseg infer` and `volseg export`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from volseg.arguments.groups import BY_WHAT, MACHINE, OUTPUT, QUALITY, SPECIAL, WHAT
from volseg.arguments.values import DATA, MAX_MEMORY, MAX_TIME, DeviceName, Many, Shard, parse_shard, read_by
from volseg.errors import UserError

SPLITS = Literal["unseen_cases", "later_days", "hold_out", "train", "test"]


def _check_overlap(_type: object, overlap: float | None) -> None:
    """Refuse an overlap that isn't a share.

    Raises:
        UserError: below 0, or 0.95 and more.
    """
    if overlap is not None and not 0 <= overlap < 0.95:
        raise UserError(f"--overlap: {overlap:g} is no share from 0 to 0.94, e.g. 0.5")


@Parameter(name="*")
@dataclass(frozen=True)
class InferArguments:
    """Options of infer: what to predict is one of case, all, split and input."""

    case: Annotated[Many[str], WHAT] = ()
    """A case (all its days) or one scan: case123 or case123_day20."""
    all: Annotated[bool, WHAT] = False
    """Every scan of the dataset."""
    split: Annotated[SPLITS | None, WHAT] = None
    """The scans of one of the run's sets, or the dataset's test part."""
    input: Annotated[Many[Path], WHAT] = ()
    """Volumes (NIfTI, mha, nrrd), folders of volumes, folders of slices, or folders of DICOM (MR, CT). Of
    several channels one file with a fourth dimension, or NAME_0000, NAME_0001 and so on."""
    series: Annotated[Many[str], WHAT] = ()
    """Of a folder of DICOM with several volumes those to predict: their numbers or names, or `all`."""
    allow_no_frame: Annotated[bool, SPECIAL] = False
    """Take DICOM without a frame of reference, as anonymising leaves it; contours can't be tied to it."""
    allow_gaps: Annotated[bool, SPECIAL] = False
    """Take folders with missing slices as they are."""
    slice_mm: Annotated[float | None, SPECIAL] = None
    """Distance of slices in mm in folders of slices; by default as in the run's data, or 3."""
    run: Annotated[Many[str], BY_WHAT] = ()
    """A run's name under runs/, or the path of a run or package; by default the newest. Several, or five
    folds, are averaged; with weights as in a=0.6 b=0.4 by these."""
    gate: Annotated[str | None, BY_WHAT] = None
    """Another run that empties slices of a class in which it finds too little of it; `none` leaves out the
    gate of the run's config."""
    data: Annotated[Path | None, WHAT] = None
    """The prepared dataset; by default the one that the run was trained on."""
    out: Annotated[Path | None, OUTPUT] = None
    """The folder for the masks; by default predictions/RUN/DATASET."""
    dicom_out: Annotated[Path | None, OUTPUT] = None
    """Write RTSTRUCT and SEG of the scans that are DICOM into this folder, which only its owner may read."""
    engine: Annotated[str, BY_WHAT] = "auto"
    """What runs the network: auto, torch, openvino or onnxruntime, or an engine of another package; auto
    takes a GPU by torch, else OpenVINO."""
    device: Annotated[DeviceName, MACHINE] = None
    """cpu, cuda, cuda:1 (the second GPU) or mps; by default a GPU if there is one."""
    overlap: Annotated[float | None, Parameter(validator=_check_overlap), QUALITY] = None
    """How far windows overlap, 0 to 0.94; more is slower and smoother. By default as the run says."""
    tta: Annotated[Literal["flips"] | None, QUALITY] = None
    """Average the mirrored views that training saw as well: two to eight times as long."""
    fast: Annotated[bool, QUALITY] = False
    """The least time: little overlap, and only the first of several networks."""
    body_box: Annotated[bool, Parameter(negative="--no-body-box"), QUALITY] = True
    """Leave out the air around the body; without it, windows are MONAI's over the whole scan."""
    strict: Annotated[bool, QUALITY] = False
    """Refuse scans that are unlike those that the run was trained on, instead of flagging their masks."""
    force: Annotated[bool, OUTPUT] = False
    """Replace also masks that were corrected by hand (corrected/ is removed), that volseg did not write, or
    of another scan."""
    save_probabilities: Annotated[bool, OUTPUT] = False
    """Write <class>_probability.nii.gz beside each mask."""
    max_memory: Annotated[int | None, MAX_MEMORY, MACHINE] = None
    """What predicting may take of main memory, e.g. 2GB; a GPU's own memory is not counted."""
    max_seconds: Annotated[float | None, MAX_TIME, QUALITY] = None
    """Predict all scans within this time, e.g. 8h, if it can be: with fewer mirrored views, then fewer
    networks, as it runs out."""
    shard: Annotated[Shard | None, read_by(parse_shard, "--shard"), MACHINE] = None
    """Only this share of the scans, e.g. 0/2, for several processes or GPUs, or `slurm`, that of this task of
    a SLURM array; all may write to one --out."""
    timing: Annotated[bool, OUTPUT] = False
    """Print where each scan's time went."""
    compile: Annotated[bool, MACHINE] = False
    """Let torch compile the network first: for many scans on a GPU."""

    @property
    def dataset(self) -> Path:
        """The prepared dataset."""
        return self.data or DATA

    @property
    def folder(self) -> Path:
        """The folder for the masks, once it is known."""
        if self.out is None:
            raise AssertionError("no folder was named for the masks")
        return self.out


@Parameter(name="*")
@dataclass(frozen=True)
class ExportArguments:
    """Options of export."""

    format: Literal["openvino", "onnx", "torch"] = "openvino"
    """For what: OpenVINO is the fastest on CPUs, other programs read ONNX, torch needs torch."""
    out: Path | None = None
    """The package's folder; by default packages/RUN-FORMAT."""
    data: Path | None = None
    """A prepared dataset with scans to compare on; by default that of the run, else a phantom's scan."""
    int8: bool = False
    """Compute in 8 bits if the masks stay as good on the scans that training did not see (OpenVINO)."""
    with_training_scans: bool = False
    """Take names and volumes of training scans along; else it tells the scans by their images' hashes."""
    device: DeviceName = None
    """On what torch predicts the scan to compare on: cpu, cuda, cuda:1 or mps; by default a GPU."""
    force: bool = False
    """Write over a package that is there."""
