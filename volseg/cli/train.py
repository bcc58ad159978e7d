"""The commands about models: each is one typed function that calls its stage and prints what it returns."""

from pathlib import Path
from typing import TYPE_CHECKING

from volseg.arguments import (
    TrainArguments,
    seconds,
)
from volseg.cli import output
from volseg.cli.evaluate import _say_unscored
from volseg.errors import UserError

if TYPE_CHECKING:
    from volseg.arguments import Fold, Options
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
    limit = seconds(options.max_time)
    output.console()
    if options.dry_run:
        _tell(settings, options, limit)
        return 0
    from volseg import arguments as stage
    from volseg.runs.run_files import RUNS
    from volseg.training import launcher

    name = options.run or config.stem
    each = options.fold == "each"
    chosen = stage.Options(
        data=options.data,
        run=Path(name) if "/" in name else RUNS / name,
        fold=_fold(options.fold),
        resume=options.resume,
        max_seconds=limit,
        weights=options.weights,
    )
    if each:
        return _train_each(settings, chosen, options.devices)
    done = launcher.train_on(options.devices, settings, chosen)
    if done.rank:  # rank 0 tells
        return 0
    score = "no validation" if done.best is None else f"best score {done.best:.4f}"
    print(f"{done.run}: {done.steps} steps in {done.seconds / 60:.1f} min, {score}")
    return 0


def _train_each(settings: "Config", chosen: "Options", devices: int) -> int:
    """Train all folds, and print what they score on the scans they did not see."""
    from volseg.evaluation import evaluate
    from volseg.training import cross_validation

    done = cross_validation.train_each(settings, chosen, devices=devices)
    _say_unscored(done.scores)
    output.show(evaluate.table(done.scores))
    output.show(evaluate.run_table(done.scores))
    print(f"{done.run}: {len(done.folds)} folds in {done.seconds / 60:.1f} min")
    scored = done.scores.headline
    print(f"out-of-fold {scored.line} ({len(scored.scans)} scans)")
    return output.SOME_FAILED if done.scores.failed else 0


def _tell(config: "Config", options: TrainArguments, limit: float | None) -> None:
    """What training by this config will take."""
    from volseg.planning import resource_estimate, tables

    try:
        told = resource_estimate.forecast(
            config, options.data, fold="all" if options.fold == "all" else int(options.fold)
        )
    except resource_estimate.TooLargeError as error:
        raise UserError(
            "train --dry-run: a step takes more memory than there is; "
            "make train.patch or train.batch smaller"
        ) from error
    output.show(tables.table(tables.rows(told, limit)))


def _fold(text: str) -> "Fold":
    """The fold of one training; the first of `each`."""
    return "all" if text == "all" else int(text.replace("each", "0"))
