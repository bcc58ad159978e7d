"""The command `volseg contours`."""

from pathlib import Path
from typing import TYPE_CHECKING

from volseg.arguments import ContoursArguments, InferArguments
from volseg.cli import output
from volseg.errors import UserError

if TYPE_CHECKING:
    from volseg.dicom.contours import ContoursResult
    from volseg.inference.infer import InferenceResult


def contours(predictions: Path, /, *series: Path, options: ContoursArguments = ContoursArguments()) -> int:
    """Write predicted masks as DICOM RTSTRUCT and SEG of the series that they were predicted from.

    Masks that were corrected by hand are written as they are now. Nothing is resampled, and nobody has
    reviewed what is written: it says so of itself.

    Args:
        predictions: The folder that `volseg infer` wrote, or the folder of one scan in it.
        series: Folders or files of DICOM with the series.
    """
    if not series:
        raise UserError(
            "contours: name the folder of DICOM behind the predictions: contours predictions SERIES"
        )
    output.configure_console()
    from volseg.dicom import contours as stage

    return tell(stage.contours(predictions, series, options), options.out)


def check_ready(options: InferArguments) -> None:
    """Raise a UserError where `infer --dicom-out` could write nothing in the end."""
    from volseg.dicom import contours as stage

    if not options.input:
        raise UserError("--dicom-out: is of DICOM, which --input names; a dataset's scans are none")
    if options.allow_no_frame:
        raise UserError("--dicom-out: needs a frame of reference; leave out --allow-no-frame")
    stage.check_ready(_wanted(options))


def write_inferred(done: "InferenceResult", options: InferArguments) -> int:
    """Write the objects of scans that were just predicted; returns the exit code."""
    from volseg.dicom import contours as stage

    wanted = _wanted(options)
    return tell(stage.contours_of_records(done.records, done.out, done.series, wanted), wanted.out)


def _wanted(options: InferArguments) -> ContoursArguments:
    return ContoursArguments(out=options.dicom_out or ContoursArguments.out)


def tell(result: "ContoursResult", out: Path) -> int:
    """Print what was written and what was not, and return the exit code."""
    output.notes(result.notes)
    for scan, reason in result.failed.items():
        output.message(f"failed: {scan}: {reason}")
    files = "file" if len(result.files) == 1 else "files"
    print(f"{out}: {len(result.files)} {files} of DICOM, not reviewed by anyone")
    return output.SOME_FAILED if result.failed else 0
