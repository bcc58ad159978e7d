"""A run: the folder that training leaves and inference needs, and nothing beside it."""

import csv
import hashlib
import io
import json
from collections.abc import Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from volseg.config.config import Config
from volseg.errors import UserError, nearest
from volseg.postprocessing import Step
from volseg.runs import config_files
from volseg.runs.folds import NAMES, Folds
from volseg.schema import Section, explain
from volseg.system.files import replacing, write_text

if TYPE_CHECKING:
    from torch import Tensor, nn

    from volseg.inference.predictor import Member, Predictor
    from volseg.inference.sliding_window import Network
    from volseg.model.engines import Model

RUNS = Path("runs")
BEST, LAST = "best.safetensors", "last.pt"
CONFIG, SPLITS, METRICS = config_files.CONFIG, "splits.json", "metrics.csv"
CALIBRATION = "calibration.json"
TUNE = "tune.json"


class Facts(Section):
    """What `splits.json` holds: the dataset's facts and the names of the scans in each set."""

    dataset: str
    classes: tuple[str, ...]
    exclusive: bool
    channels: tuple[str, ...]
    fold: int | str
    train: tuple[str, ...]
    unseen_cases: tuple[str, ...] = ()
    later_days: tuple[str, ...] = ()
    hold_out: tuple[str, ...] = ()

    def set_of(self, scan: str) -> str:
        """The set a scan was in, or "other"."""
        for name in ("train", "unseen_cases", "later_days", "hold_out"):
            if scan in getattr(self, name):
                return name
        return "other"

    def seen(self, scan: str, case: str) -> str:
        """What training saw: this very "scan", its "case" on another day, or "none" of it."""
        if scan in self.train:
            return "scan"
        cases = {name.rsplit("_day", 1)[0] for name in self.train}
        return "case" if case in cases else "none"


class Run:
    """A run folder whose config and facts were read and checked."""

    def __init__(self, folder: Path, config: Config, facts: Facts) -> None:
        self.folder = folder
        self.config = config
        self.facts = facts

    @classmethod
    def create(cls, folder: Path, config: Config, facts: Facts) -> "Run":
        """Write the resolved config, the steps of post-processing in a file of their own, and the facts."""
        config_files.write(folder, config)
        write_text(folder / SPLITS, facts.model_dump_json(indent=1) + "\n")
        return cls(folder, config, facts)

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """Read a run.

        Raises:
            UserError: no run there, or its config, steps or facts don't fit this version.
        """
        if Folds.read(folder):
            raise UserError(
                f"{folder}: holds {len(NAMES)} runs; name one, e.g. {folder / NAMES[0]}"
            )
        for name in (CONFIG, SPLITS):
            if not (folder / name).is_file():
                raise UserError(
                    f"{folder}: not a run, {name} is missing; make one with `volseg train`"
                )
        try:
            facts = Facts.model_validate_json((folder / SPLITS).read_bytes())
        except ValidationError as error:
            lines = explain(error, Facts)
            raise UserError.of(f"{folder / SPLITS}: {line}" for line in lines) from error
        return cls(folder, config_files.read(folder, facts.classes), facts)

    @property
    def weights(self) -> Path:
        """The best weights.

        Raises:
            UserError: training has not written any yet.
        """
        path = self.folder / BEST
        if not path.is_file():
            raise UserError(
                f"{self.folder}: has no weights ({BEST}); finish it with `volseg train ... --resume`"
            )
        return path

    def save_best(self, network: "nn.Module") -> None:
        """Write the network's weights, atomically and without pickle."""
        from safetensors.torch import save

        tensors = {name: tensor.contiguous() for name, tensor in _tensors(network).items()}
        with replacing(self.folder / BEST) as temporary:
            temporary.write_bytes(save(tensors, {"classes": json.dumps(self.facts.classes)}))

    def network(self) -> "nn.Module":
        """The network with the best weights.

        Raises:
            UserError: no weights, a damaged file, or weights of another network.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        network = self.build()
        try:
            tensors = load(self.weights.read_bytes())
            strange = sorted(tensors.keys() ^ _tensors(network).keys())
            if strange:
                raise UserError(
                    f"{self.weights}: not the weights of this run ({strange[0]} on one side only)"
                )
            network.load_state_dict(tensors, strict=False)  # shared tensors are stored once
        except (SafetensorError, RuntimeError) as error:
            first = str(error).splitlines()[0]
            raise UserError(f"{self.weights}: not the weights of this run ({first})") from error
        return network

    def member(self, network: "Network") -> "Member":
        """A network of this run, with all that it wants of a scan."""
        from volseg.inference.predictor import Member

        config = self.config
        return Member(network, config.data, config.inference, config.window)

    def predictor(self, *members: "Member") -> "Predictor":
        """Members with this run's classes and cleaning, to be applied to a native volume."""
        from volseg.inference.predictor import Predictor

        facts = self.facts
        return Predictor(members, facts.classes, self.config.postprocess, facts.exclusive)

    def with_config(self, config: Config) -> "Run":
        """This run under another config."""
        return Run(self.folder, config, self.facts)

    @property
    def steps_file(self) -> Path:
        """The file that tells the steps of post-processing."""
        return config_files.steps_file(self.folder)

    def replace_postprocess(self, steps: Sequence[Step], comments: Sequence[str] = ()) -> "Run":
        """Write other steps, with lines of comment above them, and give the run that goes by them.

        Raises:
            UserError: a step for a class that the run doesn't have, or one that does nothing.
        """
        config_files.replace_steps(self.folder, self.facts.classes, steps, comments)
        return self.with_config(self.config.model_copy(update={"postprocess": tuple(steps)}))

    @property
    def model(self) -> "Model":
        """The network as engines find it."""
        from volseg.converted import converted
        from volseg.model.engines import Model

        return Model(
            formats=("torch", "openvino", "onnx"),
            window=self.config.window,
            inputs=len(self.facts.channels),
            precision=self.config.train.precision,
            network=self.network,
            file=lambda kind: converted(self, kind),
        )

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the weights' file.

        Raises:
            UserError: training has not written any yet.
        """
        return hashlib.sha256(self.weights.read_bytes()).hexdigest()

    @property
    def made_from(self) -> str:
        """What the network's numbers depend on beside its settings and its engine, as text to hash."""
        return self.digest

    def build(self) -> "nn.Module":
        """The network with fresh weights."""
        return self.config.network.build(len(self.facts.channels), len(self.facts.classes))

    def check_classes(self, classes: Sequence[str], where: Path) -> None:
        """Refuse a dataset whose classes are others.

        Raises:
            UserError: names both lists.
        """
        if tuple(classes) != self.facts.classes:
            raise UserError(
                f"{self.folder}: was trained on the classes {', '.join(self.facts.classes)}, "
                f"{where} has {', '.join(classes)}; use a run trained on this dataset"
            )

    def write_metrics(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write `metrics.csv`, a row an epoch."""
        text = io.StringIO()
        columns = list(dict.fromkeys(key for row in rows for key in row))
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(self.folder / METRICS, text.getvalue())


def _tensors(network: "nn.Module") -> "dict[str, Tensor]":
    """A network's weights by name, those that two names share only once."""
    stored = network.state_dict()
    found = chain(network.named_parameters(), network.named_buffers())
    return {name: tensor.detach() for name, tensor in found if name in stored}


def begun(folder: Path) -> bool:
    """Whether a run has got as far as its first checkpoint."""
    return any((folder / name).is_file() for name in (LAST, BEST))


def members(folder: Path) -> list[Path]:
    """The runs whose networks predict: the folder itself, or the finished folds of one that holds five.

    Raises:
        UserError: no fold is finished.
    """
    five = Folds.read(folder)
    if five is None and (folder / NAMES[0]).is_dir():
        raise UserError(
            f"{folder}: no fold is finished; go on with `volseg train ... --fold each --resume`, or "
            f"name {folder / NAMES[0]}"
        )
    if five is None:
        return [folder]
    return [folder / name for name in NAMES if name in five.finished]


def label(folder: Path) -> str:
    """A run's short name; that of a fold begins with that of the run which holds it."""
    inner = Folds.read(folder.parent) is not None
    return f"{folder.parent.name}/{folder.name}" if inner else folder.name


def find(name: str | None) -> Path:
    """The folder of a run: a name under `runs/`, a path, or (None) the newest with weights.

    Raises:
        UserError: no such run; names the nearest.
    """
    known = {folder.name: folder for folder in sorted(RUNS.glob("*")) if folder.is_dir()}
    if name is None:
        newest = {folder: _last_written(folder) for folder in known.values()}
        done = [folder for folder, written in newest.items() if written is not None]
        if not done:
            raise UserError(
                f"{RUNS}: no finished run; make one with `volseg train configs/unet.yaml`"
            )
        return max(done, key=lambda folder: newest[folder] or 0)
    if name in known:
        return known[name]
    for folder in (Path(name), RUNS / name):  # the second finds NAME/fold0
        if folder.is_dir():
            return folder
    raise UserError(f"{name}: no such run under {RUNS} and no such folder{nearest(name, known)}")


def _last_written(folder: Path) -> float | None:
    """When a run's weights were written last; None where it can't predict yet."""
    five = Folds.read(folder)
    names = five.finished if five else ["."]
    files = [folder / name / BEST for name in names]
    return max((file.stat().st_mtime for file in files if file.is_file()), default=None)
