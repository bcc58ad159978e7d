"""`volseg train auto`: from a prepared dataset and a time to a run with its cleaning, calibration and report.

Each stage is the command of its name; nothing else is computed. What is over stands in a file beside the run,
so that a stopped one goes on.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from volseg.arguments import AutoArguments, InferArguments, PlanArguments, TrainArguments
from volseg.auto.record import PASSES, TUNE_SECONDS, AutoRecord, open_record, plan_file, record_file
from volseg.calibration.calibrate import calibrate
from volseg.config import config
from volseg.data.splits import FOLDS
from volseg.errors import OutputError, UserError
from volseg.evaluation.evaluate import evaluate
from volseg.evaluation.summary import Scores
from volseg.formatting import format_duration
from volseg.inference.infer import infer
from volseg.model.engines.device_selection import usable_device
from volseg.planning.plan import plan
from volseg.planning.plan_text import plan_yaml
from volseg.report.report import report
from volseg.runs.folds import NAMES, OUT_OF_FOLD
from volseg.runs.locate import member_folders
from volseg.runs.run import Run
from volseg.runs.run_files import SPLITS, VALIDATION, ValidationSet
from volseg.system.files import write_text
from volseg.system.json_files import write_json
from volseg.training.cross_validation import train_each_fold
from volseg.training.launcher import launch
from volseg.tuning.tables import closing_lines
from volseg.tuning.tune import tune

log = logging.getLogger(__name__)
STAGES = ("plan", "train", "tune", "calibrate", "infer", "evaluate", "report")
VALIDATED = ("tune", "calibrate", "infer", "evaluate")
"""Stages that need scans which training did not see."""
MAY_FAIL = ("tune", "calibrate")
"""Stages that a dataset may be too small for; without them a run is as it was trained."""
LEAST_TRAINING_SECONDS = 20.0


@dataclass(frozen=True)
class AutoResult:
    """The run, its scores (None: no validation scan), its report, and how long each stage took."""

    run: Path
    scores: Scores | None
    report: Path
    record: AutoRecord


def auto(options: AutoArguments) -> AutoResult:
    """Plan, train, tune, calibrate, predict the validation scans, score and report them, within a time.

    A stage that the data are too few for is left out and told. Seconds are of this call and earlier ones.

    Raises:
        UserError: no time was given or too little, no such dataset, or a run that is there.
    """
    usable_device(options.device)  # what is wrong is told before anything takes time
    training = AutoTraining(options, open_record(options))
    for name in STAGES:
        training.run_stage(name)
    return AutoResult(options.run, training.scores, training.page, training.record)


@dataclass
class AutoTraining:
    """The stages of an automatic training, and its record, which is written after each."""

    options: AutoArguments
    record: AutoRecord
    scores: Scores | None = None

    @property
    def page(self) -> Path:
        """The file of the report."""
        return self.options.run / "report.html"

    def run_stage(self, name: str) -> None:
        """Do a stage, unless it is over or can't be; its seconds count even if it is stopped."""
        if name in self.record.done and name != "evaluate":
            log.info("%s: over before", name)
            return
        if name in VALIDATED and not self._validation_splits():
            self._leave_out(name, "no scan was kept from training to validate on")
            return
        left = format_duration(max(0.0, self.record.seconds_left))
        log.info("%s (stage %d of %d, %s left)", name, STAGES.index(name) + 1, len(STAGES), left)
        stage: Callable[[], None] = getattr(self, f"_{name}")
        start = time.monotonic()
        try:
            stage()
        except OutputError:
            raise
        except UserError as error:
            if name not in MAY_FAIL:
                raise
            self._leave_out(name, str(error).splitlines()[0])
        finally:
            took = self.record.seconds.get(name, 0.0) + time.monotonic() - start
            self._update(seconds={**self.record.seconds, name: round(took, 2)})
        self._update(done=tuple(dict.fromkeys((*self.record.done, name))))

    def _plan(self) -> None:
        """Write the planned config beside the run."""
        made = plan(
            PlanArguments(
                data=self.options.data,
                max_seconds=self._seconds_of_a_run,
                network=self.options.network,
                device=self.options.device,
            )
        )
        file = plan_file(self.options.run)
        write_text(file, plan_yaml(made, self.options.data, file))
        log.info("%s: the config, with the reason of each setting", file)
        self._update(validation_seconds=round(made.estimate.validation_seconds, 2))

    def _train(self) -> None:
        """Train by the planned config in the time that is left for it."""
        limit, whole = self.record.training_seconds, self.record.max_seconds
        if limit < LEAST_TRAINING_SECONDS:
            spent = format_duration(self.record.seconds["plan"])
            raise UserError(
                f"--max-time: {whole:g} s are too few: planning took {spent}, and the stages after training "
                f"need about {format_duration(whole - limit - self.record.seconds['plan'])}; "
                "give more, with --resume, which plans anew"
            )
        settings, run = config.load(plan_file(self.options.run)), self.options.run
        if self.options.fold == "each":
            train_each_fold(settings, self._training_options(resume=(run / NAMES[0]).is_dir()))
        else:
            launch(settings, self._training_options(resume=(run / SPLITS).is_file()))

    @property
    def _seconds_of_a_run(self) -> float:
        """The time for one training: each of five folds has a fifth."""
        return self.record.training_seconds / (FOLDS if self.options.fold == "each" else 1)

    def _training_options(self, *, resume: bool) -> TrainArguments:
        given = self.options
        return TrainArguments(
            data=given.data,
            run=given.run,
            fold=given.fold,
            resume=resume,
            max_seconds=self._seconds_of_a_run,
            devices=given.devices,
            device=given.device,
        )

    def _tune(self) -> None:
        """Search post-processing in the time that calibration and prediction leave."""
        seconds = min(TUNE_SECONDS, self.record.seconds_left - (PASSES - 1) * self.record.validation_seconds)
        if seconds <= 0:
            raise UserError("no time is left for it")
        how = InferArguments(device=self.options.device)
        scans, found = tune(str(self.options.run), self.options.data, max_seconds=seconds, how=how)
        for line in closing_lines(scans, found):
            log.info("%s", line)

    def _calibrate(self) -> None:
        how = InferArguments(device=self.options.device)
        calibrate(str(self.options.run), self.options.data, how)

    def _infer(self) -> None:
        """Predict the validation scans, each by a network that has not seen it."""
        for member, split in self._validation_splits():
            infer(
                InferArguments(
                    run=(str(member),),
                    data=self.options.data,
                    out=self.options.run / OUT_OF_FOLD,
                    split=split,
                    device=self.options.device,
                )
            )

    def _evaluate(self) -> None:
        run = self.options.run
        self.scores = evaluate(run / OUT_OF_FOLD, self.options.data, out=run)

    def _report(self) -> None:
        report(str(self.options.run), data=self.options.data, out=self.page)

    def _validation_splits(self) -> list[tuple[Path, ValidationSet]]:
        """Each run and a set of its validation scans; of five folds new cases only, so that none is twice."""
        members = member_folders(self.options.run)
        sets: Sequence[ValidationSet] = VALIDATION[:1] if len(members) > 1 else VALIDATION
        return [(one, name) for one in members for name in sets if getattr(Run.open(one).facts, name)]

    def _leave_out(self, name: str, reason: str) -> None:
        log.warning("%s is left out: %s", name, reason)
        self._update(left_out={**self.record.left_out, name: reason})

    def _update(self, **changes: object) -> None:
        self.record = self.record.model_copy(update=changes)
        write_json(record_file(self.options.run), self.record)
