"""The command `volseg export`."""

from volseg.arguments import ExportArguments
from volseg.cli import output


def export(run: str, /, *, options: ExportArguments = ExportArguments()) -> None:
    """Write a package of a run, to be used in its place: `volseg infer --run PACKAGE`.

    It predicts without torch, and is compared with the run on a scan before it appears. It holds no names of
    training scans unless asked to.

    Parameters
    ----------
    run:
        A run's name under runs/, or its path; five folds become one package, NAME/fold0 that of one.
    """
    output.configure_console()
    from volseg.export import export as stage
    from volseg.formatting import format_bytes, format_count

    done = stage.export(run, options)
    print(f"{done.folder}: {format_count(len(done.networks), 'network')}, {format_bytes(done.size)}")
    for network in done.networks:
        print(f"{network.label}: compared on {network.equivalence}")
        if network.int8:
            print(network.int8)
