"""The command `volseg node`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from volseg.arguments import NodeArguments
from volseg.cli import output
from volseg.errors import UserError
from volseg.formatting import format_count

if TYPE_CHECKING:
    from volseg.dicom.node.settings import NodeSettings


def node(config: Path, /, *, options: NodeArguments = NodeArguments()) -> int:
    """Receive DICOM series, contour them by rules and send RTSTRUCT and SEG on, until stopped.

    Research software, not a medical device: a human reviews every contour.

    Args:
        config: The YAML file with the settings of the node.
    """
    if sum(map(bool, (options.status, options.retry, options.folder))) > 1:
        raise UserError("node: --status, --retry and --folder are three commands; give one")
    if bool(options.folder) != bool(options.out):
        raise UserError("node: --folder and --out belong together; give both")
    output.configure_console()
    from volseg.dicom.node.settings import listening_settings, load_settings

    settings = load_settings(config)
    if options.status:
        return _print_status(settings.spool)
    if options.retry:
        return _retry(settings.spool, options.retry)
    if options.folder and options.out:
        return _contour_folder(settings, options.folder, options.out)
    from volseg.dicom.node.node import run_node

    run_node(settings, listening_settings(settings, str(config)))
    return 0


def _print_status(spool: Path) -> int:
    from volseg.dicom.node.status import read_status, status_table

    status, now = read_status(spool), time.time()
    output.print_table(status_table(status, now))
    return 1 if any(status.problems(now)) else 0


def _retry(spool: Path, names: tuple[str, ...]) -> int:
    from volseg.dicom.node.job_queue import retry_dead
    from volseg.dicom.node.spool import Spool, use_private_modes

    use_private_modes()
    tried = retry_dead(Spool(spool, b""), names)
    print(f"{spool}: {format_count(len(tried), 'job')} put back into the queue")
    return 0


def _contour_folder(settings: "NodeSettings", source: Path, out: Path) -> int:
    from volseg.dicom.node.folder_mode import contour_folder

    done = contour_folder(settings, source, out)
    for failure in done.failures:
        output.message(f"failed: {failure}")
    print(
        f"{out}: results of {len(done.results)} series, of "
        f"{format_count(done.images, 'image')}; {format_count(done.others, 'file')} of another kind"
    )
    return output.SOME_FAILED if done.failures else 0
