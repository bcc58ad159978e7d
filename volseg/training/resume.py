"""A run that goes on: what may have changed since it was begun."""

import logging
from collections.abc import Iterator
from typing import Any

from volseg.arguments import TrainArguments
from volseg.config.config import Config
from volseg.errors import UserError
from volseg.formatting import join_names
from volseg.runs.config_files import recorded_overrides, rewrite_config
from volseg.runs.run import Run
from volseg.runs.run_files import SETS, FileChecksums, RunSplits
from volseg.system.log_file import log_to

log = logging.getLogger(__name__)
FREE = {
    "data": ("cache",),
    "train": (
        "precision", "compile", "epoch_steps", "patience", "workers", "checkpoint_minutes", "teacher",
    ),
}  # fmt: skip
"""Settings by section that may change, since a checkpoint fits all of their values.

The folder of a teacher may have moved: its maps are told by their checksums. `train.steps` may become more,
which the run then keeps.
"""


def open_to_resume(config: Config, options: TrainArguments, facts: RunSplits) -> Run:
    """The run that goes on, with the free settings of this config; it is told in the log what is new in it.

    More steps than before extend it, for this time and all later ones.

    Raises:
        UserError: no run, or another config or other data than it was begun with.
    """
    run = Run.open(options.run)
    run.check_classes(facts.classes, options.dataset)
    new = with_own_postprocessing(config, run)
    current, steps = with_free_settings_of(new, run.config), new.train.steps
    if steps > run.config.train.steps:
        current = current.model_copy(update={"train": current.train.model_copy(update={"steps": steps})})
    problems = _changed_settings(current.model_dump(), new.model_dump())
    problems += describe_changed_data(run.facts, facts)
    if problems:
        raise UserError(
            f"{options.run}: can't be resumed with other settings: {', '.join(problems)}; use those it was "
            "begun with (overrides need not be repeated; train.steps may only become more) or start another "
            "with --run NAME"
        )
    with log_to(run.folder / "log.txt"):
        for line in _changed_settings(run.config.model_dump(), current.model_dump()):
            log.info("goes on with another %s", line)
        if current.train.steps > run.config.train.steps:
            _extend(run, current)
    if run.facts.data != facts.data:  # it was moved, or an earlier version did not write it
        moved = run.facts.model_copy(update={"data": facts.data})
        moved.write(run.folder)
        run = Run(run.folder, current, moved)
    return run.with_config(current)


def _extend(run: Run, config: Config) -> None:
    """Tell how the learning rate goes on in a run of more steps, and keep their number in the run."""
    before, now, rate = run.config.train.steps, config.train.steps, config.optimizer.rate
    log.info(
        "extended from %d to %d steps: the learning rate is now that of a run of %d steps; at step %d it is "
        "%.2g in place of %.2g, and falls until step %d",
        *(before, now, now, before, rate(before / now), rate(1.0), now),
    )
    train = run.config.train.model_copy(update={"steps": now})
    overrides = recorded_overrides(run.folder, [f"train.steps={now}"])
    rewrite_config(run.folder, run.config.model_copy(update={"train": train}), overrides)


def with_free_settings_of(new: Config, begun: Config) -> Config:
    """The config with which a run was begun, but for those settings of `new` that may change."""
    sections = {}
    for section, names in FREE.items():
        of_new, of_begun = getattr(new, section), getattr(begun, section)
        sections[section] = of_begun.model_copy(update={name: getattr(of_new, name) for name in names})
    return begun.model_copy(update=sections)


def describe_changed_data(old: RunSplits, new: RunSplits) -> Iterator[str]:
    """A line if the sets differ, and one each if the labels or the images of scans do; all name the scans."""
    later = {
        "data",
        "cases",
        "images",
        "files",
        "inherited",
        "slice_mm",
        "synthetic",
    }  # which earlier versions did not write
    if old.model_dump(exclude=later) != new.model_dump(exclude=later):
        before, after = (
            {scan: part for part in (*SETS[:-1], "taught") for scan in getattr(of, part)} for of in (old, new)
        )
        moved = sorted({scan for scan, _ in before.items() ^ after.items()})
        yield f"the dataset or fold (splits.json differs{' in ' * bool(moved)}{join_names(moved)})"
    for part in FileChecksums.model_fields:
        pairs = {name: (one, new.files[name]) for name, one in old.files.items() if name in new.files}
        changed = [name for name, pair in pairs.items() if getattr(pair[0], part) != getattr(pair[1], part)]
        if changed:
            yield f"the {part} of {join_names(changed)} (changed since)"


def with_own_postprocessing(config: Config, run: Run) -> Config:
    """The config with the run's own post-processing, by its labels or by `volseg tune`."""
    if config.lists_steps and config.postprocess != run.config.postprocess:
        log.info("%s: keeps its own steps, which are not those of the config", run.steps_file)
    return config.model_copy(update={"postprocess": run.config.postprocess})


def _changed_settings(old: Any, new: Any, place: str = "") -> list[str]:
    """Each setting that differs, by dotted key, with its old and new value."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = dict.fromkeys([*old, *new])
        below = (_changed_settings(old.get(k), new.get(k), f"{place}.{k}".lstrip(".")) for k in keys)
        return [line for lines in below for line in lines]
    return [] if old == new else [f"{place} ({old} then, {new} now)"]
