"""The command `volseg status`."""

import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from volseg.cli import output

if TYPE_CHECKING:
    from volseg.inference.status import Progress, StatusReader

WATCH_S = 5.0
SHARE = 10  # of the time goes to looking at most one part in so many: a network drive has other work


def status(
    predictions: Path | None = None, /, *, data: Path | None = None, json: bool = False, watch: bool = False
) -> None:
    """Say how far predictions are: done, failed, begun, the rate, the time left, by host.

    Read from the records alone, while `volseg infer` runs anywhere, and after.

    Args:
        predictions: The folder of masks that `volseg infer` writes; by default the newest below predictions/.
        data: The prepared dataset that is predicted with --all, which tells how many scans are left.
        json: Print one line of JSON on stdout.
        watch: Look again every few seconds, until no scan is left or Ctrl-C.
    """
    output.configure_console()
    from volseg.inference.status import StatusReader

    reader = StatusReader(output.predictions_folder(predictions), data)
    if not watch:
        _print(reader.read(), json=json)
        return
    try:
        _watch(reader, json=json)
    except KeyboardInterrupt:  # the usual end
        output.message("volseg: status ended")


def _print(progress: "Progress", *, json: bool) -> None:
    from volseg.inference.status_view import status_view

    if json:
        print(progress.model_dump_json(), flush=True)
    else:
        output.print_table(status_view(progress))


def _watch(reader: "StatusReader", *, json: bool) -> None:
    from rich.live import Live

    from volseg.inference.status_view import status_view

    live = Live(auto_refresh=False) if sys.stdout.isatty() and not json else None
    with live or nullcontext():
        while True:
            begin = time.monotonic()
            progress = reader.read()
            if live:
                live.update(status_view(progress), refresh=True)
            else:
                _print(progress, json=json)
            if progress.left == 0:
                return
            time.sleep(max(WATCH_S, SHARE * (time.monotonic() - begin)))
