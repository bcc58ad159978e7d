"""`volseg train --fold each`: cross-validation, each case scored by the fold that has not seen it."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from volseg.arguments import InferArguments, TrainArguments
from volseg.config.config import Config
from volseg.errors import UserError
from volseg.evaluation.evaluate import evaluate
from volseg.evaluation.summary import Scores
from volseg.inference.infer import infer
from volseg.inference.opening import NONE
from volseg.model.distributed import process_group
from volseg.runs.folds import NAMES, OUT_OF_FOLD, FinishedFolds, FoldOutcome
from volseg.runs.run import Run
from volseg.runs.run_files import CONFIG, SPLITS
from volseg.system.locks import folder_lock, is_unused
from volseg.training.launcher import launch
from volseg.training.resume import describe_changed_data, with_free_settings_of, with_own_postprocessing
from volseg.training.train import BUSY, load_and_split

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CrossValidationResult:
    """The run, the outcome of each fold, and the out-of-fold scores of all scans."""

    run: Path
    folds: dict[str, FoldOutcome]
    scores: Scores

    @property
    def training_seconds(self) -> float:
        """The training time of all folds together."""
        return sum(fold.seconds for fold in self.folds.values())


def train_each_fold(config: Config, options: TrainArguments) -> CrossValidationResult:
    """Train every fold as a run of its own below `options.run`; predict and score its unseen cases.

    `options.max_seconds` is for each fold, `options.fold` has no effect. With `resume` finished folds
    stay as they are and the others go on. Masks go to out_of_fold/, scores.csv and summary.json
    beside it.

    Raises:
        UserError: a config without folds, or a dataset or run that doesn't fit.
    """
    if process_group.announced_world_size() > 1:
        raise UserError(
            "--fold each: trains one fold after the other, each on all devices; start it by itself with "
            "--devices N, not by torchrun or srun"
        )
    if config.data.split == "none":
        raise UserError(
            "--fold each: data.split is none, so there are no folds; set data.split=folds or leave --fold out"
        )
    with folder_lock(options.run, busy=BUSY):
        return _train_folds(config, options)


def _train_folds(config: Config, options: TrainArguments) -> CrossValidationResult:
    """Train the folds that are not finished, and score them all."""
    finished = _finished_folds(options)
    for number, name in enumerate(NAMES):
        fold = replace(options, run=options.run / name, fold=number)
        if name in finished and _is_up_to_date(config, fold, finished[name]):
            log.info("%s: finished before", fold.run)
            continue
        log.info("%s: fold %d of %d", fold.run, number + 1, len(NAMES))
        result = launch(config, replace(fold, resume=(fold.run / SPLITS).is_file()))
        finished[name] = FoldOutcome(
            steps=result.steps, best=result.best, seconds=result.seconds, max_seconds=fold.max_seconds
        )
        FinishedFolds(finished=finished).write(options.run)
    return CrossValidationResult(options.run, finished, _score_out_of_fold(options))


def _finished_folds(options: TrainArguments) -> dict[str, FoldOutcome]:
    """The outcomes of finished folds by name; none in a new run.

    Raises:
        UserError: the folder holds something else, or a run without `resume`.
    """
    folder = options.run
    if (folder / CONFIG).is_file():
        raise UserError(f"{folder}: is the run of one fold; start another with --run NAME")
    if options.resume and not (folder / NAMES[0]).is_dir():
        raise UserError(f"{folder}: nothing to resume, {NAMES[0]} is missing; leave out --resume")
    if not options.resume and not is_unused(folder):
        raise UserError(f"{folder}: exists; pass --resume to go on or --run NAME to start another")
    folds = FinishedFolds.read(folder)
    return dict(folds.finished) if folds else {}


def _is_up_to_date(config: Config, options: TrainArguments, ended: FoldOutcome) -> bool:
    """Whether a finished fold has the present data and settings; if not, `train` says what differs."""
    if not (options.run / SPLITS).is_file():
        return False  # the fold was removed
    run = Run.open(options.run)
    _, facts = load_and_split(config, options.dataset, options.first_fold)
    same = not any(describe_changed_data(run.facts, facts))
    same = same and ended.max_seconds == options.max_seconds
    new = with_own_postprocessing(config, run)
    return same and with_free_settings_of(new, run.config) == new


def _score_out_of_fold(options: TrainArguments) -> Scores:
    """Scores of each fold's best weights on its unseen cases, all folds together."""
    out = options.run / OUT_OF_FOLD
    for name in NAMES:
        run = (str(options.run / name),)
        infer(
            InferArguments(
                run=run,
                data=options.dataset,
                out=out,
                split="unseen_cases",
                engine="torch",  # which is loaded already
                device=options.device,
                gate=NONE,  # which may have seen these cases
            )
        )
    return evaluate(out, options.dataset, out=options.run)
