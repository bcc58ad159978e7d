"""A run's network in the formats of other engines, made once and kept in the run's folder."""

import hashlib
import logging
import os
import shutil
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from volseg import __version__
from volseg.model.engines import ConversionError, Format
from volseg.runs.run import Run
from volseg.system import processes

log = logging.getLogger(__name__)
SUFFIXES: dict[Format, str] = {"openvino": ".xml", "onnx": ".onnx"}


def converted(run: Run, kind: Format) -> Path:
    """The run's network as a file that an engine reads; this process never holds torch.

    Raises:
        UserError: no weights, or a network that can't be converted.
    """
    told = f"{run.digest} {run.config.window} {__version__}"
    name = hashlib.sha256(told.encode()).hexdigest()[:16]
    writable = os.access(run.folder, os.W_OK)
    kept = run.folder if writable else Path.home() / ".cache" / "volseg" / run.digest[:16]
    file = kept / kind / f"{name}{SUFFIXES[kind]}"
    if not file.is_file():
        log.info("%s: converting the network for %s, once", run.folder, kind)
        shutil.rmtree(file.parent, ignore_errors=True)  # of other weights
        convert_apart(run, kind, file)
    return file


def convert_apart(run: Run, kind: Format, file: Path) -> None:
    """Write the run's network as a file that an engine reads, in a process of its own.

    Raises:
        UserError: no weights.
        ConversionError: a network that can't be converted.
    """
    try:
        processes.apart(_convert, (run, kind, file))
    except BrokenProcessPool as error:
        raise ConversionError(
            f"{run.folder}: the process that converted the network was killed, perhaps for want of memory"
        ) from error


def _convert(order: tuple[Run, Format, Path]) -> None:
    from volseg.model.engines.conversion import convert

    run, kind, file = order
    convert(run.network(), (len(run.facts.channels), *run.config.window), kind, file)
