"""Nothing of a patient in what the node says: libraries that print tags and UIDs are made quiet."""

import logging
import threading
import warnings

from volseg.errors import UserError

LIBRARIES = ("pynetdicom", "pydicom", "highdicom")
log = logging.getLogger(__name__)


def silence_libraries() -> None:
    """Turn off the logs and warnings of the libraries of DICOM, and the text of errors in threads.

    All of them quote the values of tags.

    Raises:
        UserError: they are not installed.
    """
    try:
        from pynetdicom import _config
    except ImportError as error:
        raise UserError("node: needs pynetdicom; install it by `pip install 'volseg[dicom]'`") from error

    _config.LOG_HANDLER_LEVEL = "none"
    for name in LIBRARIES:
        library = logging.getLogger(name)
        library.handlers = [logging.NullHandler()]
        library.propagate = False
        library.setLevel(logging.CRITICAL + 1)
    warnings.simplefilter("ignore")
    threading.excepthook = _log_thread_error


def describe_error(error: BaseException) -> str:
    """The kind of an error and the line of code that raised it: its text may quote a tag."""
    place, trace = "", error.__traceback__
    while trace is not None:
        place = f" at {trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}"
        trace = trace.tb_next
    return f"{type(error).__name__}{place}"


def _log_thread_error(given: threading.ExceptHookArgs) -> None:
    if given.exc_value is not None:
        log.error("a thread has ended by %s", describe_error(given.exc_value))
