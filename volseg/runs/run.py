"""A run: the folder that training writes and inference reads, which needs nothing beside it."""

import csv
import hashlib
import io
import json
from collections.abc import Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volseg.config.config import Config
from volseg.errors import UserError
from volseg.postprocessing import Step
from volseg.runs import config_files
from volseg.runs.ancestry import read_splits
from volseg.runs.folds import NAMES, FinishedFolds
from volseg.runs.run_files import BEST, CONFIG, METRICS, SPLITS, RunSplits
from volseg.system.files import atomic_path, write_text

if TYPE_CHECKING:
    from torch import Tensor, nn

    from volseg.model.engines import Format, TrainedModel


class Run:
    """A run's folder with its config and splits, read and checked."""

    formats: tuple["Format", ...] = ("torch", "openvino", "onnx")

    def __init__(self, folder: Path, config: Config, facts: RunSplits) -> None:
        self.folder = folder
        self.config = config
        self.facts = facts

    @classmethod
    def create(
        cls,
        folder: Path,
        config: Config,
        facts: RunSplits,
        *,
        comments: Sequence[str] = (),
        overrides: Sequence[str] = (),
    ) -> "Run":
        """Write the resolved config, the steps below comments in a file of their own, and the splits."""
        config_files.write_config(folder, config, comments, overrides)
        facts.write(folder)
        return cls(folder, config, facts)

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """Read a run.

        Raises:
            UserError: no run there, or its config, steps or splits don't fit this version.
        """
        if FinishedFolds.read(folder):
            raise UserError(f"{folder}: holds {len(NAMES)} runs; name one, e.g. {folder / NAMES[0]}")
        missing = next((name for name in (CONFIG, SPLITS) if not (folder / name).is_file()), "")
        facts = read_splits(folder)
        if missing or facts is None:
            raise UserError(f"{folder}: not a run, {missing} is missing; make one with `volseg train`")
        return cls(folder, config_files.read_config(folder, facts.classes), facts)

    @property
    def weights_file(self) -> Path:
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

    def save_best_weights(self, network: "nn.Module") -> None:
        """Write a network's weights, atomically and without pickle."""
        from safetensors.torch import save

        tensors = {name: tensor.contiguous() for name, tensor in _stored_tensors(network).items()}
        with atomic_path(self.folder / BEST) as temporary:
            temporary.write_bytes(save(tensors, {"classes": json.dumps(self.facts.classes)}))

    def load_network(self) -> "nn.Module":
        """The network with the best weights.

        Raises:
            UserError: no weights, a damaged file, or weights of another network.
        """
        file = self.weights_file  # refused before torch is loaded
        from safetensors import SafetensorError
        from safetensors.torch import load

        network = self.build_network()
        try:
            tensors = load(file.read_bytes())
            unmatched = sorted(tensors.keys() ^ _stored_tensors(network).keys())
            if unmatched:
                raise UserError(f"{file}: not the weights of this run ({unmatched[0]} on one side only)")
            network.load_state_dict(tensors, strict=False)  # shared tensors are stored once
        except (SafetensorError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{file}: not the weights of this run ({reason})") from error
        return network

    def with_config(self, config: Config) -> "Run":
        """This run with another config."""
        return Run(self.folder, config, self.facts)

    @property
    def steps_file(self) -> Path:
        """The file that lists the steps of post-processing."""
        return config_files.steps_file(self.folder)

    def replace_postprocess(self, steps: Sequence[Step], comments: Sequence[str] = ()) -> "Run":
        """Write other steps, with lines of comment above them; returns the run with these steps.

        Raises:
            UserError: a step for a class that the run doesn't have, or one that does nothing.
        """
        config_files.replace_steps(self.folder, self.facts.classes, steps, comments)
        return self.with_config(self.config.model_copy(update={"postprocess": tuple(steps)}))

    @property
    def trained_model(self) -> "TrainedModel":
        """The network as engines load it."""
        from volseg.model.engines import TrainedModel

        return TrainedModel(
            formats=self.formats,
            window=self.config.window,
            inputs=len(self.facts.channels),
            precision=self.config.train.precision,
            network=self.load_network,
            file=self.network_file,
        )

    def network_file(self, kind: "Format") -> Path:
        """The network's file in an engine's format, converted first where there is none."""
        from volseg.model.engines.conversion import converted_file

        return converted_file(
            self.folder,
            kind,
            digest=self.weights_digest,
            network=self.load_network,
            shape=(len(self.facts.channels), *self.config.window),
        )

    @cached_property
    def weights_digest(self) -> str:
        """The SHA-256 of the weights' file."""
        return hashlib.sha256(self.weights_file.read_bytes()).hexdigest()

    @property
    def network_identity(self) -> str:
        """What the network's output depends on beside settings and engine, as text to hash."""
        return self.weights_digest

    def build_network(self) -> "nn.Module":
        """The network with random weights."""
        return self.config.network.build(len(self.facts.channels), len(self.facts.classes))

    def check_classes(self, classes: Sequence[str], where: Path) -> None:
        """Raise a UserError for a dataset of other classes."""
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


def _stored_tensors(network: "nn.Module") -> "dict[str, Tensor]":
    """A network's weights by name, those that two names share only once."""
    stored = network.state_dict()
    tensors = chain(network.named_parameters(), network.named_buffers())
    return {name: tensor.detach() for name, tensor in tensors if name in stored}
