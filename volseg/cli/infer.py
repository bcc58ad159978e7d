"""The command `volseg infer`."""

from volseg.arguments import CohortArguments, InferArguments
from volseg.cli import contours, output
from volseg.errors import UserError


def infer(*, options: InferArguments = InferArguments(), cohort: CohortArguments = CohortArguments()) -> int:
    """Predict masks on each scan's native grid, and their run-length codes."""
    if sum(map(bool, (options.case, options.all, options.split, options.input))) != 1:
        raise UserError("infer: name what to predict by one of --case, --all, --split and --input")
    output.configure_console()
    from volseg.inference import infer as stage
    from volseg.inference import tables

    if options.dicom_out:
        contours.check_ready(options)
    done = stage.infer(options, cohort)
    if options.timing:
        output.print_table(tables.timing_table(done.records))
    if done.records:
        output.print_table(tables.confidence_table(done.records))
    for note in (*done.notes, *tables.confidence_notes(done.records)):
        output.message(f"note: {note}")
    for record in done.failed_records:
        output.message(f"failed: {record.scan}: {record.reason}")
    predicted = len(done.records) - len(done.failed_records) - len(done.kept)
    kept = f", {len(done.kept)} kept as corrected by hand" if done.kept else ""
    print(f"{done.out}: {predicted} of {len(done.records)} scans by {done.ensemble}{kept}")
    code = contours.write_inferred(done, options) if options.dicom_out else 0
    return output.SOME_FAILED if done.failed_records else code
