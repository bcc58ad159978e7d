"""The commands about models: each is one typed function that calls its stage and prints what it returns."""

from pathlib import Path
from typing import TYPE_CHECKING

from volseg.arguments import TrainArguments, parse_duration
from volseg.cli import output
from volseg.cli.evaluate import _note_unscored
from volseg.errors import UserError

if TYPE_CHECKING:
    from volseg.arguments import Fold, TrainOptions
    from volseg.config.config import Config


def train(config: Path, /, *overrides: str, options: TrainArguments = TrainArguments()) -> int:
    """Train a network as a config says.

    Parameters
    ----------
    config:
        A YAML file; those that come with volseg are found by name, e.g. configs/unet.yaml.
    overrides:
        Settings in place of the file's: section.key=value, e.g. optimizer.lr=1e-4.
    """
    from volseg.config import config as configs

    settings = configs.load(config, overrides)
    limit = parse_duration(options.max_time)
    output.configure_console()
    if options.dry_run:
        _print_estimate(settings, options, limit)
        return 0
    from volseg import arguments as stage
    from volseg.runs.run_files import RUNS
    from volseg.training import launcher

    name = options.run or config.stem
    each = options.fold == "each"
    chosen = stage.TrainOptions(
        data=options.data,
        run=Path(name) if "/" in name else RUNS / name,
        fold=_parse_fold(options.fold),
        resume=options.resume,
        max_seconds=limit,
        weights=options.weights,
    )
    if each:
        return _train_each_fold(settings, chosen, options.devices)
    done = launcher.launch(options.devices, settings, chosen)
    if done.rank:  # rank 0 tells
        return 0
    score = "no validation" if done.best is None else f"best score {done.best:.4f}"
    print(f"{done.run}: {done.steps} steps in {done.seconds / 60:.1f} min, {score}")
    return 0


def _train_each_fold(settings: "Config", chosen: "TrainOptions", devices: int) -> int:
    """Train all folds, and print what they score on the scans they did not see."""
    from volseg.evaluation import tables
    from volseg.training import cross_validation

    done = cross_validation.train_each_fold(settings, chosen, devices=devices)
    _note_unscored(done.scores)
    output.print_table(tables.metric_tables(done.scores))
    output.print_table(tables.summary_table("run", done.scores.by_run))
    print(f"{done.run}: {len(done.folds)} folds in {done.training_seconds / 60:.1f} min")
    scored = done.scores.headline
    print(f"out-of-fold {scored.line} ({len(scored.scans)} scans)")
    return output.SOME_FAILED if done.scores.failed else 0


def _print_estimate(config: "Config", options: TrainArguments, limit: float | None) -> None:
    """What training by this config will take."""
    from volseg.planning import resource_estimate, tables

    try:
        told = resource_estimate.estimate_resources(
            config, options.data, fold="all" if options.fold == "all" else int(options.fold)
        )
    except resource_estimate.TrialTooLargeError as error:
        raise UserError(
            "train --dry-run: a step takes more memory than there is; make train.patch or train.batch smaller"
        ) from error
    output.print_table(tables.key_value_table(tables.estimate_rows(told, limit)))


def _parse_fold(text: str) -> "Fold":
    """The fold of one training; the first of `each`."""
    return "all" if text == "all" else int(text.replace("each", "0"))
