"""The commands about models: each is one typed function that calls its stage and prints what it returns."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from volseg.arguments import (
    DATA,
    PREDICTIONS,
    PlanArguments,
    TrainArguments,
    memory,
    seconds,
)
from volseg.cli import output
from volseg.errors import UserError
from volseg.system.files import write_text

if TYPE_CHECKING:
    from volseg.config.config import Config
    from volseg.evaluation.summary import Scores
    from volseg.training.train import Fold, Options


def plan(*, options: PlanArguments = PlanArguments()) -> None:
    """Write a config that suits a prepared dataset and this machine, with the reason of each setting.

    A few steps of training are tried, so it takes a minute or more.
    """
    limit, allowed = seconds(options.max_time), memory(options.max_memory)
    if options.out and options.out.exists() and not options.force:
        raise UserError(f"--out {options.out}: exists; name another file or pass --force")
    output.console()
    from volseg.planning import plan as stage
    from volseg.planning import tables

    made = stage.plan(options.data, options.network, max_memory=allowed, max_seconds=limit)
    text = stage.text(made, options.data, options.out)
    if options.out is None:
        output.show(tables.table(stage.rows(made)), error=True)
        print(text, end="")
        return
    write_text(options.out, text)
    output.show(tables.table(stage.rows(made)))
    print(f"{options.out}: train with `volseg train {options.out} --data {options.data}`")


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
    from volseg.runs.run import RUNS
    from volseg.training import launcher
    from volseg.training import train as stage

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


def evaluate(
    predictions: Path = PREDICTIONS,
    /,
    *,
    data: Path = DATA,
    out: Path | None = None,
    by: Literal["case", "day", "matrix"] | None = None,
) -> int:
    """Score predictions: Dice, distances in mm, volumes and the competition's score.

    The mean of eight cases or more has its 95 % interval in brackets, found by drawing cases.

    Parameters
    ----------
    predictions:
        The folder that `volseg infer` wrote.
    data:
        The prepared dataset that holds the truth.
    out:
        The folder for scores.csv and summary.json; by default the predictions' folder.
    by:
        Show a line for each case, day (the first, second ... of a case) or size of the slices as well.
    """
    output.console()
    from volseg.evaluation import evaluate as stage

    scores = stage.evaluate(predictions, data, out=out)
    _say_unscored(scores)
    if len(scores.runs) > 1:
        output.say(f"note: these masks are by several runs: {', '.join(scores.runs)}")
    output.show(stage.table(scores))
    if scores.by_run:
        output.show(stage.run_table(scores))
    if by:
        output.show(stage.table_by(scores, by))
    print(f"{scores.headline.name}: {scores.headline.line}")
    return output.SOME_FAILED if scores.failed else 0


def submit(
    predictions: Path = PREDICTIONS,
    /,
    *,
    data: Path = DATA,
    sample: Path | None = None,
    out: Path = Path("submission.csv"),
) -> None:
    """Merge the scans' run-length codes into the competition's file.

    Parameters
    ----------
    predictions:
        The folder that `volseg infer` wrote.
    data:
        The prepared dataset.
    sample:
        The competition's sample_submission.csv; its rows give the order.
    out:
        The file to write.
    """
    output.console()
    from volseg.inference import submit as stage

    done = stage.submit(predictions, data, sample=sample, out=out)
    for warning in done.warnings:
        output.say(f"note: {warning}")
    print(f"{out}: {done.rows} rows")


def demo(*, out: Path = Path("demo"), seed: int = 0) -> None:
    """Make a phantom dataset with case123 and run every stage on it, in about two minutes.

    Parameters
    ----------
    out:
        The folder for everything the demo writes.
    seed:
        Other seeds draw other patients and start from other weights.
    """
    output.console()
    from volseg import demo as stage

    done = stage.demo(out, seed=seed)
    output.show(done.table)
    for path, text in done.paths.items():
        print(f"{path}  {text}")


def options(kind: str | None = None, /) -> None:
    """List the components a config can name and their settings.

    Parameters
    ----------
    kind:
        One of network, loss, optimizer, intensity, step, layout, metric; all by default.
    """
    from volseg.components import listing

    for line in listing(kind):
        print(line)


def _say_unscored(scores: "Scores") -> None:
    for scan, why in {**scores.skipped, **scores.failed}.items():
        output.say(f"note: {scan} is not scored: {why}")


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
