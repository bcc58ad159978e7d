"""The command `volseg view`."""

from volseg.arguments import ViewArguments
from volseg.cli import output


def view(scan: str | None = None, /, *, options: ViewArguments = ViewArguments()) -> None:
    """See predicted masks in the browser, correct them and save them, until stopped by Ctrl-C.

    Corrected masks lie in <scan>/corrected/ beside the predicted ones, which stay as they are; other commands
    take them from there. Nothing leaves this machine.

    Args:
        scan: A scan or a case; by default the list of all scans, those to be trusted least first.
    """
    output.configure_console()
    from volseg.viewer import view as stage

    stage.view(scan, options, lambda address: print(address, flush=True))
    output.message("volseg: view ended")
