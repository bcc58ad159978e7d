"""The content of a scan's `record.json`: what predicted it, and what its masks are worth."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from volseg import __version__
from volseg.data.image_identity import ScanIdentity
from volseg.postprocessing import StepChange
from volseg.runs.trained_on import Seen
from volseg.schema import ClassName, PathInside, ScanName


class _RecordPart(BaseModel):
    """A frozen part of a record; keys of later versions are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Flag(_RecordPart):
    """Something unusual about one class: the sign by which it shows, and a sentence for people."""

    sign: str
    text: str


class Confidence(_RecordPart):
    """The confidence in the mask of one class, and the slices to check.

    `dice` is the Dice to expect of the mask (None: it is empty, or `doubt` says why nobody knows), measured
    on validation scans if `calibrated`; then that of eight masks in ten is in `range`, and `error` is how far
    it was off on average. `agreement` is the mean Dice between two passes, None of one. `slices` are ranges,
    the worst first, by source numbers; without such from 0 along the file's axis from head to feet or back.
    """

    dice: float | None
    calibrated: bool
    volume_ml: float
    range: tuple[float, float] | None = None
    error: float | None = None
    doubt: str = ""
    agreement: float | None = None
    flags: tuple[Flag, ...] = ()
    slices: tuple[tuple[int, int], ...] = ()


class GateRecord(_RecordPart):
    """The run that gated slices, SHA-256 of its weights, and by how many pixels of which probability."""

    run: str
    weights: str
    probability: float
    pixels: int


class Computation(_RecordPart):
    """Where and when masks were computed: on which host, by which process, finished at which time (UTC).

    `loads` is how often that process had loaded networks by then, and `attempts` how many processes began
    with the scan, some of which were lost. `memory_budget` are the bytes that were allowed where a process
    had been ended for want of memory, else 0.
    """

    host: str = ""
    process: str = ""
    loads: int = 0
    attempts: int = 1
    memory_budget: int = 0
    finished: str = ""


class PredictionRecord(_RecordPart):
    """The content of `record.json`, one scan's.

    `seen` is what training saw: this very scan, another day of its case, or nothing of the case; of
    several runs, the most that any saw. `chose_weights` says whether the best weights were chosen by the
    scan's own score; `unknown_weights` are weights that training began with, of which nobody knows what
    they saw. `fold_set` is the run's set that the scan was in. `key` is the hash of all that the masks were
    made from: image, weights and settings; `reduced` says what of the networks and views was left out to
    keep --max-time. `run_weights` are the shares of the networks in a weighted mean, by folder; none where
    all count alike. `gate` is the run that emptied slices, if there was one. `changes` are those by each step
    of post-processing, by class, and `steps` are all of them, as `postprocess.yaml` lists them; `check` are
    the slices to look at first, all classes together. `day` is the scan's within its case, where the dataset
    or the name of the input tells it. `outside` tells in sentences in what the scan is unlike those of
    training.

    `source` are the absolute paths that the image was read from, `image_hash` is that of its voxels, and
    `files` has the SHA-256 of each file of the prediction. Records of earlier versions lack some of these.
    """

    scan: ScanName
    case: str = ""
    day: int | None = None
    status: Literal["done", "failed"]
    reason: str = ""
    run: str = ""
    weights: str = ""
    run_weights: dict[str, float] = {}
    gate: GateRecord | None = None
    classes: tuple[ClassName, ...]
    fold_set: str = "other"
    seen: Seen
    chose_weights: bool = False
    unknown_weights: tuple[str, ...] = ()
    key: str = ""
    reduced: str = ""
    source: tuple[str, ...] = ()
    image_hash: str = ""
    files: dict[PathInside, str] = {}
    seconds: dict[str, float] = {}
    steps: tuple[str, ...] = ()
    changes: dict[str, tuple[StepChange, ...]] = {}
    confidence: dict[str, Confidence] = {}
    check: tuple[tuple[int, int], ...] = ()
    outside: tuple[str, ...] = ()
    computed: Computation = Computation()
    version: str = __version__

    @property
    def made_by(self) -> str:
        """The runs, the shares of their networks where these differ, and the gate; "" where nobody knows."""
        shares = ", ".join(f"{share:.3g}" for share in self.run_weights.values())
        weights = f" (weights {shares})" if shares else ""
        gate = f", slices gated by {self.gate.run}" if self.gate else ""
        return f"{self.run}{weights}{gate}"

    @property
    def identity(self) -> ScanIdentity:
        """What tells the scan from others."""
        return ScanIdentity(name=self.scan, case=self.case, image=self.image_hash)
