"""The command `volseg export`."""

from volseg.arguments import ExportArguments
from volseg.cli import output


def export(run: str, /, *, options: ExportArguments = ExportArguments()) -> None:
    """Write a package of a run, to be used in its place: `volseg infer --run PACKAGE`.

    It predicts without torch, and is compared with the run on a scan before it appears.

    Parameters
    ----------
    run:
        A run's name under runs/, or its path; one of five folds as NAME/fold0.
    """
    output.configure_console()
    from volseg.export import export as stage
    from volseg.formatting import format_bytes

    done = stage.export(run, options)
    print(f"{done.folder}: {format_bytes(done.size)}, compared on {done.equivalence}")
    if done.int8:
        print(done.int8)
