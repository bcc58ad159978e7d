"""The commands about data: each is one typed function that calls its stage and prints what it returns."""

import sys
from pathlib import Path

from volseg.arguments import PrepareArguments
from volseg.cli import output
from volseg.system import processes

WORKERS_NEED = ("volseg.preparation.scan_writer", "volseg.data.layouts", "cv2", "nibabel", "isal.isal_zlib")


def prepare(source: Path = Path("data/raw"), /, *, options: PrepareArguments = PrepareArguments()) -> int:
    """Turn each raw scan into a NIfTI volume and one mask a class, and say what is wrong or odd in it.

    What was prepared before from unchanged files is not done again.

    Parameters
    ----------
    source:
        The folder that holds train/, test/ and train.csv; with --layout nifti a folder with a
        dataset.json, or a MONAI datalist.
    """
    processes.preload(WORKERS_NEED)
    console = output.configure_console()
    from volseg import arguments
    from volseg.preparation import prepare as stage
    from volseg.preparation import tables

    settings = {key: value for key, value in vars(options).items() if key != "json"}
    with console.progress_bar("checking" if options.check else "preparing") as report:
        done = stage.prepare(source, options=arguments.PrepareOptions(**settings), on_scan=report)
    if options.json:
        print(tables.as_json(done, source))
    elif options.check:
        output.print_table(tables.findings_table(done))
    else:
        for line in tables.finding_lines(done):
            output.message(line)
    print(tables.summary_line(done, checked=options.check), file=sys.stderr if options.json else None)
    if done.problems or not done.scans or (options.strict and done.failures):
        return 1
    return output.SOME_FAILED if done.failures else 0
