"""The command `volseg train`."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from volseg.arguments import RUNS, TrainArguments
from volseg.cli import output
from volseg.cli.evaluate import note_unscored
from volseg.errors import UserError

if TYPE_CHECKING:
    from volseg.config.config import Config


def train(config: Path, /, *overrides: str, options: TrainArguments = TrainArguments()) -> int:
    """Train a network as a config says.

    Args:
        config: A YAML file; those that come with volseg are found by name, e.g. configs/unet.yaml.
        overrides: Settings in place of the file's: section.key=value, e.g. optimizer.lr=1e-4.
    """
    from volseg.config import config as configs

    settings = configs.load(config, overrides)
    if options.run == RUNS:
        options = replace(options, run=RUNS / config.stem)
    output.configure_console()
    if options.dry_run:
        _print_estimate(settings, options)
        return 0
    if options.fold == "each":
        return _train_each_fold(settings, options)
    from volseg.training import launcher

    result = launcher.launch(settings, options)
    if result.rank:  # rank 0 prints
        return 0
    score = (
        "no validation"
        if result.best is None
        else f"best score {result.best:.4f} of the scans that chose the weights"
    )
    print(f"{result.run}: {result.steps} steps in {result.seconds / 60:.1f} min, {score}")
    return 0


def _train_each_fold(config: "Config", options: TrainArguments) -> int:
    """Train all folds, and print the scores of the scans that were not trained on."""
    from volseg.evaluation import tables
    from volseg.training import cross_validation

    result = cross_validation.train_each_fold(config, options)
    note_unscored(result.scores)
    output.notes(result.scores.notes)
    output.print_table(tables.metric_tables(result.scores))
    output.print_table(tables.summary_table("run", result.scores.by_run))
    print(f"{result.run}: {len(result.folds)} folds in {result.training_seconds / 60:.1f} min")
    headline = result.scores.headline
    print(f"out-of-fold {headline.line}; {len(headline.scans)} {headline.name}")
    return output.SOME_FAILED if result.scores.failed else 0


def _print_estimate(config: "Config", options: TrainArguments) -> None:
    """Print the time and memory that training by this config will take."""
    from volseg.planning import resource_estimate, tables

    try:
        estimate = resource_estimate.estimate_resources(config, options.data, fold=options.first_fold)
    except resource_estimate.TrialTooLargeError as error:
        raise UserError(
            "train --dry-run: a step takes more memory than there is; make train.patch or train.batch smaller"
        ) from error
    output.print_table(tables.key_value_table(tables.estimate_rows(estimate, options.max_seconds)))
