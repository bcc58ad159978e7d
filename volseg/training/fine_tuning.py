"""Fine-tuning: training that starts from the weights of another run, a MONAI bundle or a file."""

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from volseg.arguments import RUNS
from volseg.errors import UserError, nearest_hint
from volseg.formatting import LISTED, join_names
from volseg.model.distributed import process_group
from volseg.runs.ancestry import read_trained_on
from volseg.runs.locate import has_checkpoint
from volseg.runs.run import Run
from volseg.runs.run_files import BEST, WEIGHTS, RunSplits
from volseg.runs.trained_on import TrainedOn
from volseg.system.json_files import read_json, write_json
from volseg.training.pretrained_weights import (
    LoadResult,
    PretrainedWeights,
    load_weights,
    read_weights,
    shape_mismatch_text,
)

log = logging.getLogger(__name__)


class WeightsRecord(LoadResult):
    """The content of `weights.json`: the source of a run's first weights, and which of them were loaded.

    `seen` names validation scans of this run that the weights, or those they came from, were trained on;
    `of_unknown_scans` are those among them of which nobody knows what they were trained on.
    """

    source: str
    file: str
    sha256: str
    seen: tuple[str, ...] = ()
    of_unknown_scans: tuple[str, ...] = ()


@dataclass(frozen=True)
class StartWeights:
    """Weights to start from, and `source`, their name on the command line."""

    source: str
    weights: PretrainedWeights


def resolve_start(source: str | None, run: Path, *, resume: bool) -> StartWeights | None:
    """The weights that a run starts from; None: fresh weights, or those of the run's own checkpoint.

    A run that was stopped before its first checkpoint starts from the same weights again.

    Raises:
        UserError: no such weights, unreadable ones, or a run that was started from others.
    """
    record = _read_record(run / WEIGHTS) if resume else None
    begun = resume and has_checkpoint(run)
    if record is None:
        if source is None:
            return None
        if begun:
            raise UserError(
                f"{run}: was not started from weights; leave --weights out, or start another with --run NAME"
            )
        return StartWeights(source, read_weights(find_weights_file(source)))
    if source not in (None, record.source):
        _check_same_weights(read_weights(find_weights_file(source)), record, run)
    if begun:
        return None
    weights = read_weights(Path(record.file))
    _check_same_weights(weights, record, run)
    return StartWeights(record.source, weights)


def load_start(run: Run, network: nn.Module, start: StartWeights | None) -> None:
    """Copy the weights that fit into the run's fresh network; write `weights.json`, and log a summary."""
    if start is None:
        return
    weights = start.weights
    record = WeightsRecord(
        source=start.source,
        file=str(weights.file),
        sha256=weights.sha256,
        seen=run.facts.leaked_scans,
        of_unknown_scans=run.facts.trained_on.unknown,
        **load_weights(network, weights).model_dump(),
    )
    if process_group.rank() == 0:
        write_json(run.folder / WEIGHTS, record)
    for line in summary_lines(record):
        log.info(line)


def find_weights_file(source: str) -> Path:
    """The weights file of a run (name or folder) or of a bundle's folder, or the file itself.

    Raises:
        UserError: none of these.
    """
    path = RUNS / source if (RUNS / source).is_dir() else Path(source)
    if path.is_file():
        return path
    if not path.is_dir():
        known = [folder.name for folder in RUNS.glob("*")]
        raise UserError(f"{source}: no such run under {RUNS}, file or folder{nearest_hint(source, known)}")
    for name in (BEST, "models/model.pt", "models/model.ts"):
        if (path / name).is_file():
            return path / name
    raise UserError(
        f"{path}: neither a run with weights ({BEST}) nor a MONAI bundle with models/model.pt; "
        "name one of these, or a file of weights"
    )


def summary_lines(record: WeightsRecord) -> Iterator[str]:
    """Lines of the log: how much was loaded, and which tensors were not."""
    tensors = len(record.loaded) + len(record.missing) + len(record.wrong_shape)
    changes = {"without": record.dropped, "with": record.added}
    change = " and ".join(f"{word} {part}" for word, part in changes.items() if part)
    yield (
        f"weights of {record.file}{f' (names {change})' if change else ''}: "
        f"{len(record.loaded)} of {tensors} tensors, "
        f"{100 * record.parameters / record.parameters_in_all:.1f} % of the parameters"
    )
    shapes = [f"{mismatch.name} ({shape_mismatch_text(mismatch)})" for mismatch in record.wrong_shape]
    leak = "scans that validate this run trained these weights, so its scores are too good"
    unknown = "are of unknown scans, which may be those that validate this run"
    for reason, names, shown in (
        ("stay fresh, other shapes", shapes, shapes),
        ("stay fresh, not in the file", record.missing, group_by_prefix(record.missing)),
        ("of the file have no place here", record.extra, group_by_prefix(record.extra)),
        (leak, record.seen, record.seen),
        (unknown, record.of_unknown_scans, record.of_unknown_scans),
    ):
        if names:
            yield f"  {len(names)} {reason}: {join_names(shown)}"


def group_by_prefix(names: Sequence[str]) -> list[str]:
    """Few names as they are, many by the longest leading parts that make the list short."""
    depth = max((name.count(".") for name in names), default=0) + 1
    while True:
        groups = defaultdict(list)
        for name in names:
            groups[".".join(name.split(".")[:depth])].append(name)
        if len(groups) <= LISTED or depth == 1:
            break
        depth -= 1
    return [below[0] if len(below) == 1 else f"{head}.* ({len(below)})" for head, below in groups.items()]


def with_ancestors(facts: RunSplits, start: StartWeights | None) -> RunSplits:
    """The splits of a new run with what went into the weights that it starts from."""
    return facts.model_copy(
        update={"inherited": read_trained_on(start.weights.file) if start else TrainedOn()}
    )


def _read_record(path: Path) -> WeightsRecord | None:
    return read_json(path, WeightsRecord) if path.is_file() else None


def _check_same_weights(weights: PretrainedWeights, record: WeightsRecord, run: Path) -> None:
    if weights.sha256 != record.sha256:
        raise UserError(
            f"{run}: was started from {record.source}, and {weights.file} holds other weights "
            "than it did then; give those, or start another with --run NAME"
        )
