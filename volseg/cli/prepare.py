"""The command `volseg prepare`."""

import sys
from pathlib import Path

from volseg.arguments import CohortArguments, PrepareArguments
from volseg.cli import output
from volseg.system import processes

WORKERS_NEED = ("volseg.preparation.scan_writer", "volseg.data.layouts", "cv2", "nibabel", "isal.isal_zlib")


def prepare(
    source: Path = Path("data/raw"),
    /,
    *,
    options: PrepareArguments = PrepareArguments(),
    cohort: CohortArguments = CohortArguments(),
) -> int:
    """Turn each raw scan into a NIfTI volume and one mask for each class, and report what is wrong or odd.

    Scans that were prepared before from unchanged files are left as they are.

    Args:
        source: The folder that holds train/, test/ and train.csv; with --layout nifti a folder with a
            dataset.json, a MONAI datalist, or a folder of scans as in TotalSegmentator's dataset; with
            --layout dicom a folder of DICOM files.
    """
    processes.preload(WORKERS_NEED)
    console = output.configure_console()
    from volseg.preparation import prepare as stage
    from volseg.preparation import tables

    label = "checking" if options.check else "preparing"
    with console.progress_bar(label, shown=cohort.on is None) as report:  # a cluster has a table
        result = stage.prepare(source, options=options, cohort=cohort, on_scan=report)
    if options.json:
        told = Path("dicom") if options.layout == "dicom" else source  # a patient may name the folder
        print(tables.as_json(result, told))
    elif options.check:
        output.print_table(tables.findings_table(result))
    else:
        for line in tables.finding_lines(result):
            output.message(line)
    print(tables.summary_line(result, checked=options.check), file=sys.stderr if options.json else None)
    if result.is_unusable or (options.strict and result.failures):
        return 1
    return output.SOME_FAILED if result.failures else 0
