"""Starts a command that ends with its parent and keeps to a limit of addresses: LIMIT COMMAND...

Run by its path, before anything of volseg is loaded. LIMIT is in bytes, 0 for none.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
CODE_LOST = 143  # as if ended by SIGTERM: its parent is gone


def _main() -> None:
    limit, parent, *command = sys.argv[1:]
    if sys.platform == "linux":  # elsewhere a command whose node was killed goes on; nobody takes its results
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(parent):
            sys.exit(CODE_LOST)
    if int(limit):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (int(limit), int(limit)))
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    _main()
