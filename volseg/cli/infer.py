"""The commands that apply a trained network, or hand it on."""

from typing import TYPE_CHECKING

from volseg.arguments import InferArguments, parse_memory
from volseg.cli import output
from volseg.errors import UserError

if TYPE_CHECKING:
    from volseg.inference.ensemble import InferenceOptions


def infer(*, options: InferArguments = InferArguments()) -> int:
    """Predict masks on each scan's native grid, and their run-length codes."""
    asked = [bool(options.case), options.all, bool(options.split), bool(options.input)]
    if sum(asked) != 1:
        raise UserError("infer: name what to predict by one of --case, --all, --split and --input")
    how = _inference_options(options)
    output.configure_console()
    from volseg.inference import infer as stage
    from volseg.inference import tables
    from volseg.inference.scan_sources import InferenceRequest

    done = stage.infer(
        InferenceRequest(
            runs=options.run,
            data=options.data,
            out=options.out,
            case=options.case,
            everything=options.all,
            split=options.split,
            inputs=options.input,
            allow_gaps=options.allow_gaps,
            how=how,
            probabilities=options.save_probabilities,
        )
    )
    if options.timing:
        output.print_table(tables.timing_table(done.records))
    output.print_table(tables.confidence_table(done.records))
    for note in (*done.notes, *tables.confidence_notes(done.records)):
        output.message(f"note: {note}")
    for record in done.failed_records:
        output.message(f"failed: {record.scan}: {record.reason}")
    print(
        f"{done.out}: {len(done.records) - len(done.failed_records)} of {len(done.records)} scans by {done.ensemble}"
    )
    return output.SOME_FAILED if done.failed_records else 0


def _inference_options(options: InferArguments) -> "InferenceOptions":
    """How the runs are applied.

    Raises:
        UserError: an overlap that isn't a share, or no amount of memory.
    """
    from volseg.inference.ensemble import InferenceOptions

    if options.overlap is not None and not 0 <= options.overlap < 0.95:
        raise UserError(f"--overlap: {options.overlap:g} is no share from 0 to 0.94, e.g. 0.5")
    return InferenceOptions(
        engine=options.engine,
        overlap=options.overlap,
        flips=options.tta == "flips",
        fast=options.fast,
        body_box=options.body_box,
        compiled=options.compile,
        max_memory=parse_memory(options.max_memory),
    )
