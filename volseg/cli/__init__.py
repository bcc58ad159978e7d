"""The command line: which commands there are, and what becomes of their errors."""

import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError, Parameter

from volseg import __version__
from volseg.cli import data, model, talk
from volseg.cli.talk import SOME_FAILED
from volseg.errors import UserError

app = App(
    name="volseg",
    help="Outlines of organs from stacks of MR slices. A research tool, not a medical device.",
    version=__version__,
    suppress_keyboard_interrupt=False,
    result_action="return_value",
    default_parameter=Parameter(negative=()),
    help_format="plaintext",  # rich.markdown takes 80 ms to load
)
INTERRUPTED = 130
__all__ = ["INTERRUPTED", "SOME_FAILED", "app", "main", "run"]

for command in (
    data.prepare, data.stats, model.train, model.infer, model.evaluate, model.submit, model.demo,
    data.phantom, model.options,
):  # fmt: skip
    app.command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 done, 1 a mistake, 2 wrong usage, 3 some scans failed, 130 Ctrl-C."""
    # Threads that wait for each other by spinning slow a busy machine to less than half; so short a
    # spin costs an idle one a tenth (benchmarks/waiting_threads.py).
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> int:
    """Run a command and return its exit code; a fault of ours keeps its traceback."""
    try:
        code = app(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        talk.say(f"volseg: {' '.join(str(error).split())} (see volseg --help)")
        return 2
    except UserError as error:
        talk.say(f"volseg: {error}")
        return 1
    except KeyboardInterrupt:
        talk.say("volseg: stopped; run the command again to go on (train with --resume)")
        return INTERRUPTED
    except BrokenPipeError:
        sys.stdout = None  # the reader is gone: `volseg ... | head`
        return 0
    return code or 0
