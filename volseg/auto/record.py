"""How far an automatic training is: a JSON file beside its run, by which a stopped one goes on."""

from pathlib import Path

from pydantic import Field

from volseg.arguments import AutoArguments
from volseg.data.dataset import Dataset
from volseg.data.splits import FOLDS
from volseg.errors import UserError
from volseg.formatting import format_duration
from volseg.schema import Section
from volseg.system.json_files import read_json
from volseg.system.locks import is_unused

PASSES = 4
"""`tune`, `calibrate` and `infer` predict the validation scans once each; the rest takes about as long."""
AFTER_LEAST, AFTER_MOST = 0.1, 0.3
"""The share of the whole time that is kept for the stages after training."""
TUNE_SECONDS = 600.0
"""What `volseg tune` takes at most by itself."""


class AutoRecord(Section):
    """How far an automatic training is: the content of the JSON file beside its run.

    `validation_seconds` is what one prediction of all validation scans takes by the plan, `seconds` what each
    stage took in all calls, `done` the stages that are over, `left_out` why some of them could not be.
    """

    data: Path
    network: str
    fold: int | str
    max_seconds: float
    validation_seconds: float = 0.0
    seconds: dict[str, float] = Field(default_factory=dict)
    done: tuple[str, ...] = ()
    left_out: dict[str, str] = Field(default_factory=dict)

    @property
    def seconds_left(self) -> float:
        """Seconds until all should be over."""
        return self.max_seconds - sum(self.seconds.values())

    @property
    def training_seconds(self) -> float:
        """The limit of training: what is left by the plan and what is kept for the stages that follow."""
        needed = min(PASSES * self.validation_seconds, AFTER_MOST * self.max_seconds)
        kept = max(needed, min(AFTER_LEAST * self.max_seconds, needed + TUNE_SECONDS))
        return self.max_seconds - self.seconds.get("plan", 0.0) - kept

    def to_text(self) -> str:
        """`28 min of 30 min: plan 1 min, train 24 min, ...`, stages in their order."""
        spent = ", ".join(f"{name} {format_duration(seconds)}" for name, seconds in self.seconds.items())
        return (
            f"{format_duration(sum(self.seconds.values()))} of {format_duration(self.max_seconds)}: {spent}"
        )


def plan_file(run: Path) -> Path:
    """The planned config beside a run."""
    return run.with_name(f"{run.name}.yaml")


def record_file(run: Path) -> Path:
    """The record of an automatic training beside its run."""
    return run.with_name(f"{run.name}.auto.json")


def open_record(options: AutoArguments) -> AutoRecord:
    """A new record, or that of the run which goes on.

    Raises:
        UserError: options that don't fit the dataset or the run.
    """
    if options.resume:
        return _resumed_record(options)
    if options.max_seconds is None:
        raise UserError("train auto: --max-time is missing: how long may all of it take? e.g. --max-time 2h")
    for path in (options.run, plan_file(options.run)):
        if path.is_file() or not is_unused(path):
            raise UserError(f"{path}: exists; pass --resume to go on or --run NAME to start another")
    _refuse_few_cases(options)
    return AutoRecord(
        data=options.data, network=options.network, fold=options.fold, max_seconds=options.max_seconds
    )


def _resumed_record(options: AutoArguments) -> AutoRecord:
    """The record of a run that goes on; for another time it is planned anew unless its training has begun.

    Raises:
        UserError: none, or one of another dataset, network or fold.
    """
    file = record_file(options.run)
    if not file.is_file():
        raise UserError(f"{file}: missing, so there is nothing to resume; leave out --resume")
    record = read_json(file, AutoRecord)
    for name in ("data", "network", "fold"):
        begun, given = getattr(record, name), getattr(options, name)
        if begun != given:
            raise UserError(f"{options.run}: was begun with --{name} {begun}; resume it with the same")
    if options.max_seconds is None or options.max_seconds == record.max_seconds:
        return record
    if "train" in record.done and options.max_seconds < record.max_seconds:
        raise UserError(
            f"--max-time: {options.max_seconds:g} s are less than the {record.max_seconds:g} s that "
            f"{options.run} was trained in; leave it out, or start another with --run NAME"
        )
    kept = () if is_unused(options.run) else tuple(name for name in record.done if name == "plan")
    return record.model_copy(update={"max_seconds": options.max_seconds, "done": kept, "left_out": {}})


def _refuse_few_cases(options: AutoArguments) -> None:
    """Raise a UserError for a dataset without labels, or with too few cases for five folds."""
    dataset = Dataset.load(options.data)
    cases = {sample.case for sample in dataset.samples if sample.labels and not sample.excluded}
    if not cases:
        raise UserError(f"{options.data}: no scan has labels to learn from")
    if options.fold == "each" and len(cases) < FOLDS:
        raise UserError(f"--fold each: {options.data} has {len(cases)} labelled cases, and five are needed")
