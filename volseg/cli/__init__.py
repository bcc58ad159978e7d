"""The command line: exit codes and messages for the errors of commands.

Importing this loads nothing: worker processes import it again, since it is what they were started from.
"""

import io
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from volseg.cli import output
from volseg.cli.output import SOME_FAILED
from volseg.errors import UserError
from volseg.system.files import unwritable_reason
from volseg.system.hardware import spin_briefly
from volseg.system.user import name_unknown_user

if TYPE_CHECKING:
    from cyclopts import CycloptsError

SIGNALLED = 128  # added to a signal's number, as shells do: 130 is Ctrl-C, 143 SIGTERM
__all__ = ["SOME_FAILED", "main", "run_command"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit.

    The code is 0 done, 1 a mistake, 2 wrong usage, 3 some scans failed, 130 Ctrl-C, 143 SIGTERM.
    """
    spin_briefly()
    name_unknown_user()
    sys.stdout, sys.stderr = sys.stdout or _open_nowhere(), sys.stderr or _open_nowhere()
    if isinstance(sys.stdout, io.TextIOWrapper):  # some terminals can't show all names
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(run_command(sys.argv[1:] if arguments is None else list(arguments)))


def _open_nowhere() -> TextIO:
    """A stream for what nobody reads: the shell has closed stdout or stderr."""
    return Path(os.devnull).open("w", encoding="utf-8")


def run_command(arguments: list[str]) -> int:
    """Run a command and return its exit code; an error in volseg itself keeps its traceback."""
    try:
        _refuse_undecoded_names(arguments)
        return _call_app(arguments)
    except UserError as error:
        if str(error):  # else another process prints the reason
            output.message(f"volseg: {error}")
        return 1
    except KeyboardInterrupt as stop:
        output.message("volseg: stopped; run the command again to go on (train with --resume)")
        return SIGNALLED + getattr(stop, "number", signal.SIGINT)
    except BrokenPipeError:
        sys.stdout = None  # the reader is gone: `volseg ... | head`
        return 0
    except OSError as error:
        reason = unwritable_reason(error)
        if reason is None:
            raise
        output.message(f"volseg: {error.filename or 'the output'}: can't be written: {reason}")
        return 1


def _refuse_undecoded_names(arguments: list[str]) -> None:
    """Raise a UserError for names of files that are not UTF-8, or that Python's locale can't read.

    Records and tables, which are UTF-8, could not name them at the end of the work.
    """
    try:
        names = [*arguments, str(Path.cwd())]
    except OSError as error:
        raise UserError("the current folder is gone or can't be read; change to another") from error
    for name in names:
        if any("\ud800" <= letter <= "\udfff" for letter in name):
            utf8 = sys.getfilesystemencoding() == "utf-8"
            cure = "rename it" if utf8 else "set LC_ALL=C.UTF-8 or PYTHONUTF8=1, or rename it"
            raise UserError(f"{name!a}: the name is not {'UTF-8' if utf8 else 'ASCII'}; {cure}")


def _call_app(arguments: list[str]) -> int:
    from cyclopts import CycloptsError

    from volseg.cli.app import app

    try:
        return app(arguments, exit_on_error=False, print_error=False) or 0
    except CycloptsError as error:
        output.message(f"volseg: {_usage_fault(error)}")
        return 2


def _usage_fault(error: "CycloptsError") -> str:
    """What is wrong with the words behind a command, and where it is told what is right."""
    from cyclopts.exceptions import UnusedCliTokensError

    command = " ".join(("volseg", *(error.command_chain or ())))
    if not isinstance(error, UnusedCliTokensError):
        return f"{' '.join(str(error).split())} (see {command} --help)"
    words = list(error.unused_tokens or ())
    dataset = next((word for word in words if (Path(word) / "dataset.json").is_file()), "")
    hint = f"; a dataset is named by --data {dataset}" if dataset else ""
    return f"{', '.join(words)}: stands behind no option's name{hint} (see {command} --help)"
