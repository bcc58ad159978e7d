"""The commands: each is one typed function that calls its stage and prints what it returns."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App, CycloptsError, Parameter

from volseg import __version__
from volseg.arguments import (
    DATA,
    PREDICTIONS,
    InferArguments,
    PrepareArguments,
    TrainArguments,
    seconds,
)
from volseg.errors import UserError

if TYPE_CHECKING:
    from types import ModuleType

    from volseg.stages.train import Fold

app = App(
    name="volseg",
    help="Outlines of organs from stacks of MR slices. A research tool, not a medical device.",
    version=__version__,
    suppress_keyboard_interrupt=False,
    result_action="return_value",
    default_parameter=Parameter(negative=()),
    help_format="plaintext",  # rich.markdown takes 80 ms to load
)
SOME_FAILED, INTERRUPTED = 3, 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 done, 1 a mistake, 2 wrong usage, 3 some scans failed, 130 Ctrl-C."""
    # Threads that wait for each other by spinning slow a busy machine to less than half; so short a
    # spin costs an idle one a tenth (benchmarks/waiting_threads.py).
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> int:
    """Run a command and return its exit code; a fault of ours keeps its traceback."""
    try:
        code = app(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        _say(f"volseg: {' '.join(str(error).split())} (see volseg --help)")
        return 2
    except UserError as error:
        _say(f"volseg: {error}")
        return 1
    except KeyboardInterrupt:
        _say("volseg: stopped; run the command again to go on (train with --resume)")
        return INTERRUPTED
    except BrokenPipeError:
        sys.stdout = None  # the reader is gone: `volseg ... | head`
        return 0
    return code or 0


@app.command
def prepare(
    source: Path = Path("data/raw"), /, *, options: PrepareArguments = PrepareArguments()
) -> int:
    """Stack each scan's PNG slices into a NIfTI volume and decode its masks.

    Parameters
    ----------
    source:
        The folder that holds train/, test/ and train.csv.
    """
    console = _console()
    from volseg.stages import prepare as stage

    with console.progress("checking" if options.check else "preparing") as report:
        done = stage.prepare(source, options=stage.PrepareOptions(**vars(options)), on_scan=report)
    for note in done.notes:
        _say(f"note: {note}")
    if done.excluded:
        _say(f"note: excluded from training and scoring: {', '.join(done.excluded)}")
    for failure in done.failures:
        _say(f"failed: {failure.reason}")
    total = len(done.scans) + len(done.failures)
    written = "nothing written" if options.check else str(done.out)
    print(f"{written}: {len(done.scans)} of {total} scans without a fault")
    return SOME_FAILED if done.failures else 0


@app.command
def train(config: Path, /, *overrides: str, options: TrainArguments = TrainArguments()) -> None:
    """Train a network as a config says.

    Parameters
    ----------
    config:
        A YAML file; those that come with volseg are found by name, e.g. configs/unet.yaml.
    overrides:
        Settings in place of the file's: section.key=value, e.g. optimizer.lr=1e-4.
    """
    from volseg import config as configs

    settings = configs.load(config, overrides)
    limit = seconds(options.max_time)
    _console()
    from volseg.runs import RUNS
    from volseg.stages import train as stage

    name = options.run or config.stem
    done = stage.train(
        settings,
        stage.Options(
            data=options.data,
            run=Path(name) if "/" in name else RUNS / name,
            fold=_fold(options.fold),
            resume=options.resume,
            max_seconds=limit,
        ),
    )
    score = "no validation" if done.best is None else f"best score {done.best:.4f}"
    print(f"{done.run}: {done.steps} steps in {done.seconds / 60:.1f} min, {score}")


@app.command
def infer(*, options: InferArguments = InferArguments()) -> int:
    """Predict masks on each scan's native grid, and their run-length codes."""
    asked = [bool(options.case), options.all, bool(options.split), bool(options.input)]
    if sum(asked) != 1:
        raise UserError("infer: name what to predict by one of --case, --all, --split and --input")
    _console()
    from volseg.stages import infer as stage
    from volseg.stages.sources import Wanted

    done = stage.infer(
        Wanted(
            run=options.run,
            data=options.data,
            out=options.out,
            case=options.case,
            everything=options.all,
            split=options.split,
            inputs=options.input,
            allow_gaps=options.allow_gaps,
        )
    )
    for note in done.notes:
        _say(f"note: {note}")
    for record in done.failed:
        _say(f"failed: {record.scan}: {record.reason}")
    print(
        f"{done.out}: {len(done.records) - len(done.failed)} of {len(done.records)} scans by {done.run}"
    )
    return SOME_FAILED if done.failed else 0


@app.command
def evaluate(
    predictions: Path = PREDICTIONS, /, *, data: Path = DATA, out: Path | None = None
) -> int:
    """Score predictions: Dice, distances in mm, volumes and the competition's score.

    Parameters
    ----------
    predictions:
        The folder that `volseg infer` wrote.
    data:
        The prepared dataset that holds the truth.
    out:
        The folder for scores.csv and summary.json; by default the predictions' folder.
    """
    _console()
    from volseg.stages import evaluate as stage

    scores = stage.evaluate(predictions, data, out=out)
    for scan, why in {**scores.skipped, **scores.failed}.items():
        _say(f"note: {scan} is not scored: {why}")
    if len(scores.runs) > 1:
        _say(f"note: these masks are by several runs: {', '.join(scores.runs)}")
    _print(stage.table(scores))
    return SOME_FAILED if scores.failed else 0


@app.command
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
    _console()
    from volseg.stages import submit as stage

    done = stage.submit(predictions, data, sample=sample, out=out)
    for warning in done.warnings:
        _say(f"note: {warning}")
    print(f"{out}: {done.rows} rows")


@app.command
def demo(*, out: Path = Path("demo"), seed: int = 0) -> None:
    """Make a phantom dataset with case123 and run every stage on it, in about four minutes.

    Parameters
    ----------
    out:
        The folder for everything the demo writes.
    seed:
        Other seeds draw other patients and start from other weights.
    """
    _console()
    from volseg.stages import demo as stage

    done = stage.demo(out, seed=seed)
    _print(done.table)
    for path, text in done.paths.items():
        print(f"{path}  {text}")


@app.command
def phantom(
    out: Path, /, *, cases: int = 16, days: int = 3, full_size: bool = False, seed: int = 0
) -> None:
    """Write a synthetic dataset in the raw layout, case123 among its cases.

    Parameters
    ----------
    out:
        A new or empty folder.
    cases:
        How many labelled patients.
    days:
        How many scans each has.
    full_size:
        Slices of the real sizes instead of small ones.
    seed:
        The same seed gives the same dataset.
    """
    _console()
    from volseg.data.phantom import write

    facts = write(out, cases=cases, days=days, full_size=full_size, seed=seed)
    print(f"{out}: {facts.scans} labelled and {facts.test_scans} test scans, {facts.slices} slices")


@app.command
def options(kind: str | None = None, /) -> None:
    """List the components a config can name and their settings.

    Parameters
    ----------
    kind:
        One of network, loss, optimizer, intensity, step, layout, metric; all by default.
    """
    from volseg.stages.options import listing

    for line in listing(kind):
        print(line)


def _fold(text: str) -> "Fold":
    return "all" if text == "all" else int(text)


def _console() -> "ModuleType":
    from volseg import console

    console.configure()
    return console


def _print(table: object) -> None:
    """A table on stdout; not folded to a terminal's width where there is none."""
    from rich.console import Console

    console = Console() if sys.stdout.isatty() else Console(width=160)
    console.print(table)


def _say(text: str) -> None:
    print(text, file=sys.stderr)
