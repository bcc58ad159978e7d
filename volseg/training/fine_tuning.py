"""Fine-tuning: a run that starts from another run's weights, a MONAI bundle's or a file's."""

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from volseg.config.config import Config
from volseg.data.dataset import Dataset
from volseg.errors import UserError, nearest_hint
from volseg.model.distributed import process_group
from volseg.runs import locate, run_files
from volseg.runs.run import Run
from volseg.runs.run_files import BEST, RunSplits
from volseg.system.json_files import read_json, write_json
from volseg.training.pretrained_weights import (
    LoadResult,
    PretrainedWeights,
    check_weights,
    load_weights,
    read_weights,
    shape_mismatch_text,
)

log = logging.getLogger(__name__)
RECORD = "weights.json"
MOST = 8
"""Names in a line of the log; weights.json has all."""


class WeightsRecord(LoadResult):
    """What `weights.json` holds: where a run's first weights came from, and what became of each.

    `seen` names scans of this run's validation that the weights' own run learnt from.
    """

    source: str
    file: str
    sha256: str
    seen: tuple[str, ...] = ()


@dataclass(frozen=True)
class StartWeights:
    """Weights to start from, and what the user called them."""

    source: str
    weights: PretrainedWeights


def resolve_start(source: Path | str | None, run: Path, *, resume: bool) -> StartWeights | None:
    """What a run has to start from; None: fresh weights, or it has begun and goes on.

    A run that was stopped before its first checkpoint starts from the same weights again.

    Raises:
        UserError: no such weights, unreadable ones, or a run that was started from others.
    """
    record = _read_record(run / RECORD) if resume else None
    begun = resume and locate.has_checkpoint(run)
    if record is None:
        if source is not None and begun:
            raise UserError(
                f"{run}: was not started from weights; leave --weights out, or start another with --run NAME"
            )
        return (
            None
            if source is None
            else StartWeights(str(source), read_weights(find_weights_file(str(source))))
        )
    if source is not None and str(source) != record.source:
        _check_same_weights(read_weights(find_weights_file(str(source))), record, run)
    if begun:
        return None
    weights = read_weights(Path(record.file))
    _check_same_weights(weights, record, run)
    return StartWeights(record.source, weights)


def check_fit(first: StartWeights | None, config: Config, dataset: Dataset) -> None:
    """Refuse weights of which nothing fits before anything is written.

    Raises:
        UserError: nothing fits.
    """
    if first:
        network = config.network.build(len(dataset.facts.channels), len(dataset.classes))
        check_weights(network, first.weights)


def load_start(run: Run, network: nn.Module, first: StartWeights | None) -> None:
    """Copy what fits into the run's fresh network; tell it in the log and in `weights.json`."""
    if first is None:
        return
    weights = first.weights
    record = WeightsRecord(
        source=first.source,
        file=str(weights.file),
        sha256=weights.sha256,
        seen=tuple(_validation_scans_seen(run, weights.file.with_name(run_files.SPLITS))),
        **load_weights(network, weights).model_dump(),
    )
    if process_group.rank() == 0:
        write_json(run.folder / RECORD, record)
    for line in summary_lines(record):
        log.info(line)


def find_weights_file(source: str) -> Path:
    """The file that a run's name or folder, a bundle's folder or a file's path stands for.

    Raises:
        UserError: none of these.
    """
    place = run_files.RUNS / source if (run_files.RUNS / source).is_dir() else Path(source)
    if place.is_file():
        return place
    if not place.is_dir():
        known = [folder.name for folder in run_files.RUNS.glob("*")]
        raise UserError(
            f"{source}: no such run under {run_files.RUNS}, file or folder{nearest_hint(source, known)}"
        )
    files = [place / name for name in (BEST, "models/model.pt", "models/model.ts")]
    found = [file for file in files if file.is_file()]
    if not found:
        raise UserError(
            f"{place}: neither a run with weights ({BEST}) nor a MONAI bundle with models/model.pt; "
            "name one of these, or a file of weights"
        )
    return found[0]


def summary_lines(record: WeightsRecord) -> Iterator[str]:
    """Lines that tell how much was loaded, and what was not."""
    tensors = len(record.loaded) + len(record.missing) + len(record.wrong_shape)
    changes = {"without": record.dropped, "with": record.added}
    names = " and ".join(f"{word} {part}" for word, part in changes.items() if part)
    yield (
        f"weights of {record.file}{f' (names {names})' if names else ''}: "
        f"{len(record.loaded)} of {tensors} tensors, "
        f"{100 * record.parameters / record.parameters_in_all:.1f} % of the parameters"
    )
    shapes = [f"{one.name} ({shape_mismatch_text(one)})" for one in record.wrong_shape]
    for reason, count, listed in (
        ("stay fresh, other shapes", len(shapes), shapes),
        ("stay fresh, not in the file", len(record.missing), group_by_prefix(record.missing)),
        ("of the file have no place here", len(record.extra), group_by_prefix(record.extra)),
        (
            "scans that validate this run trained these weights, so its scores are too good",
            len(record.seen),
            record.seen,
        ),
    ):
        if count:
            yield f"  {count} {reason}: {_listed(listed)}"


def group_by_prefix(names: Sequence[str]) -> list[str]:
    """Names as they are if few, else by their leading parts, as many as leave the list short."""
    depth = max((name.count(".") for name in names), default=0) + 1
    while True:
        groups = defaultdict(list)
        for name in names:
            groups[".".join(name.split(".")[:depth])].append(name)
        if len(groups) <= MOST or depth == 1:
            break
        depth -= 1
    return [below[0] if len(below) == 1 else f"{head}.* ({len(below)})" for head, below in groups.items()]


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MOST
    return ", ".join(names[:MOST]) + (f" and {more} more" if more > 0 else "")


def _validation_scans_seen(run: Run, splits: Path) -> Iterator[str]:
    """Scans this run validates on that the weights' run, if they are a run's, saw more of."""
    if not splits.is_file():
        return
    try:
        theirs, ours = read_json(splits, RunSplits), run.facts
    except UserError:
        log.info("%s: not readable, so nobody knows which scans the weights have seen", splits)
        return
    if theirs.dataset != ours.dataset:
        return
    for name in (*ours.unseen_cases, *ours.later_days, *ours.hold_out):
        case = name.rsplit("_day", 1)[0]
        before = theirs.seen_in_training(name, case)
        if before == "scan" or (before == "case" and ours.seen_in_training(name, case) == "none"):
            yield name


def _read_record(path: Path) -> WeightsRecord | None:
    return read_json(path, WeightsRecord) if path.is_file() else None


def _check_same_weights(weights: PretrainedWeights, record: WeightsRecord, run: Path) -> None:
    if weights.sha256 != record.sha256:
        raise UserError(
            f"{run}: was started from {record.source}, and {weights.file} holds other weights "
            "than it did then; give those, or start another with --run NAME"
        )
