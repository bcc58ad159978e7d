"""The commands about data: each is one typed function that calls its stage and prints what it returns."""

import sys
from pathlib import Path

from volseg.arguments import DATA, PrepareArguments
from volseg.cli import output
from volseg.system import processes

WORKERS_NEED = (
    "volseg.preparation.scan_writer",
    "volseg.data.layouts",
    "cv2",
    "nibabel",
    "isal.isal_zlib",
)


def prepare(
    source: Path = Path("data/raw"), /, *, options: PrepareArguments = PrepareArguments()
) -> int:
    """Turn each raw scan into a NIfTI volume and one mask a class, and say what is wrong or odd in it.

    What was prepared before from unchanged files is not done again.

    Parameters
    ----------
    source:
        The folder that holds train/, test/ and train.csv; with --layout nifti a folder with a
        dataset.json, or a MONAI datalist.
    """
    processes.warm(WORKERS_NEED)
    console = output.console()
    from volseg.preparation import prepare as stage
    from volseg.preparation import tables

    settings = {key: value for key, value in vars(options).items() if key != "json"}
    with console.progress("checking" if options.check else "preparing") as report:
        done = stage.prepare(source, options=stage.PrepareOptions(**settings), on_scan=report)
    if options.json:
        print(tables.as_json(done, source))
    elif options.check:
        output.show(tables.table(done))
    else:
        for line in tables.lines(done):
            output.say(line)
    print(tables.summary(done, checked=options.check), file=sys.stderr if options.json else None)
    if done.problems or not done.scans or (options.strict and done.failures):
        return 1
    return output.SOME_FAILED if done.failures else 0


def stats(data: Path = DATA, /, *, out: Path | None = None, json: bool = False) -> None:
    """Tell a prepared dataset in numbers, and draw them: sizes, intensities, volumes, where classes lie.

    Parameters
    ----------
    data:
        The folder that `volseg prepare` wrote.
    out:
        The page of plots to write; by default stats.html in the dataset's folder.
    json:
        Print all numbers, those of each scan too, as JSON on stdout.
    """
    output.console()
    from volseg.stats import stats as stage

    found = stage.stats(data)
    path = out or data / stage.PAGE
    stage.write(found, path)
    if json:
        print(found.model_dump_json(indent=1))
    else:
        output.show(stage.table(found))
    print(f"{path}: the page of plots", file=sys.stderr if json else None)


def phantom(
    out: Path,
    /,
    *,
    cases: int = 16,
    days: int = 3,
    full_size: bool = False,
    like_kaggle: bool = False,
    seed: int = 0,
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
    like_kaggle:
        As many cases, days and slices as the competition's training set, in its sizes: 2.2 GB.
    seed:
        The same seed gives the same dataset.
    """
    output.console()
    from volseg.data.phantom import write, write_like_kaggle

    if like_kaggle:
        facts = write_like_kaggle(out, seed=seed)
    else:
        facts = write(out, cases=cases, days=days, full_size=full_size, seed=seed)
    print(f"{out}: {facts.scans} labelled and {facts.test_scans} test scans, {facts.slices} slices")
