"""The command `volseg train`."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App

from volseg.arguments import RUNS, AutoArguments, TrainArguments
from volseg.cli import output
from volseg.cli.evaluate import note_unscored
from volseg.cli.help import prose
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
    from volseg.runs.config_files import recorded_overrides
    from volseg.runs.locate import recorded_dataset

    if options.run == RUNS:
        options = replace(options, run=RUNS / config.stem)
    if options.resume:
        overrides = recorded_overrides(options.run, overrides)
        options = replace(options, data=options.data or recorded_dataset(options.run))
    settings = configs.load(config, overrides)
    options = replace(options, overrides=tuple(overrides))
    if options.gpu is not None and not options.dry_run:
        raise UserError(f"--gpu {options.gpu}: only a forecast of what training takes; add --dry-run")
    output.configure_console()
    if options.dry_run:
        _print_estimate(settings, options)
        return 0
    if options.fold == "each":
        return _train_each_fold(settings, options)
    from volseg.training import launcher
    from volseg.training.selection import SELECTIONS

    result = launcher.launch(settings, options)
    if result.rank:  # rank 0 prints
        return 0
    score = (
        "no validation"
        if result.best is None
        else f"best {SELECTIONS[result.select].title} {result.best:.4f} of the scans that chose the weights"
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


def auto(*, options: AutoArguments = AutoArguments()) -> int:
    """Plan, train, tune, calibrate, score and report, all within --max-time.

    A config that suits the data and this machine is planned and trained; then post-processing is tuned and
    confidence calibrated on scans that training did not see, which are predicted, scored and shown in a
    report. Each stage is the command of its name. The config is written beside the run, as NAME.yaml.
    """
    output.configure_console()
    from volseg.auto import auto as stage
    from volseg.auto import record
    from volseg.evaluation import tables

    result = stage.auto(options)
    if result.scores:
        note_unscored(result.scores)
        output.print_table(tables.metric_tables(result.scores))
    for name, reason in result.record.left_out.items():
        output.message(f"note: {name} was left out: {reason}")
    print(result.record.to_text())
    if result.scores:
        print(f"{result.scores.headline.name}: {result.scores.headline.line}")
    print(
        f"{result.run}: the run; its config with the reason of each setting is {record.plan_file(result.run)}"
    )
    print(f"{result.report}: scores, curves and scans to scroll through: open it in a browser")
    print(f"predict new scans with `volseg infer --run {result.run} --input SCAN ... --out new`")
    return output.SOME_FAILED if result.scores and result.scores.failed else 0


def _print_estimate(config: "Config", options: TrainArguments) -> None:
    """Print the time and memory that training by this config will take."""
    from volseg.planning import forecast, forecast_gpus, resource_estimate, tables

    gpu, fold = options.gpu and forecast_gpus.find_gpu(options.gpu), options.first_fold
    try:
        estimate = (
            forecast.forecast_resources(config, options.dataset, gpu, fold=fold)
            if gpu
            else resource_estimate.estimate_resources(
                config, options.dataset, fold=fold, device=options.device
            )
        )
    except resource_estimate.TrialTooLargeError as error:
        raise UserError(
            f"train --dry-run: a step takes more memory than {f'{gpu} has' if gpu else 'there is'}; "
            "make train.patch or train.batch smaller"
        ) from error
    output.print_table(tables.key_value_table(tables.estimate_rows(estimate, options.max_seconds)))


app = App(name="train", help=prose(train))
app.default(train)
app.command(auto, help=prose(auto))
