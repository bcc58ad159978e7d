"""`volseg view`: a server on this machine alone, for one browser."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from volseg.arguments import PREDICTIONS, ViewArguments
from volseg.errors import UserError
from volseg.inference.prediction_folder import RECORD
from volseg.inference.prediction_places import newest_predictions
from volseg.viewer.scan_list import ScanList

EXTRA = ("starlette", "uvicorn")
ASKED = "volseg was started with --read-only"


def view(scan: str | None, options: ViewArguments, tell: Callable[[str], None]) -> None:
    """Serve the viewer until Ctrl-C or SIGTERM; `tell` is given its address, once it answers there.

    `scan` is a scan, a case, or the folder of a scan or of predictions.

    Raises:
        UserError: the extra is not installed, no predictions, no such scan, or the port is taken.
    """
    if missing := [name for name in EXTRA if find_spec(name) is None]:
        raise UserError(f"view: needs {' and '.join(missing)}; install it by `pip install 'volseg[view]'`")
    from volseg.viewer.server import serve
    from volseg.viewer.session import Session

    folder, wanted = _what_is_meant(scan, options.predictions)
    scans = ScanList.load(folder, wanted, options.data)
    session = Session(
        scans,
        read_only=ASKED if options.read_only else "",
        reviewer=options.reviewer.strip(),
        single=wanted is not None and len(scans.names) == 1,
    )
    serve(session, port=options.port, browser=options.browser, tell=tell)


def _what_is_meant(scan: str | None, named: Path | None) -> tuple[Path, str | None]:
    """The folder of predictions and the scan or case in it, where a path may stand for either.

    Raises:
        UserError: what was typed is empty, a file, or nowhere.
    """
    if scan is not None and not scan.strip():
        raise UserError("the scan's name is empty; name a scan, a case or a folder, or leave it out")
    if scan and named is None and any(Path(scan).glob(f"*/{RECORD}")):
        return Path(scan), None
    predictions = named or _newest_predictions()
    path = Path(scan) if scan else predictions
    if (path / RECORD).is_file():
        return path.absolute().parent, path.absolute().name
    if scan and not (predictions / scan / RECORD).is_file():
        if path.is_dir():
            return path, None
        if path.is_file():
            scans = [f": {one}" for one in path.absolute().parents[:2] if (one / RECORD).is_file()]
            raise UserError(f"{scan}: is a file; name the folder of its scan{''.join(scans)}")
        if not predictions.is_dir():
            raise UserError(
                f"{scan}: no such folder, nor is {predictions} there to have it as a scan; name the "
                "folder of predictions by --predictions"
            )
    return predictions, scan


def _newest_predictions() -> Path:
    """The newest predictions; where there are none, the folder in which they would be."""
    try:
        return newest_predictions()
    except UserError:
        return PREDICTIONS
