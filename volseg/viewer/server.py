"""The server's socket, token and life: from its first answer to Ctrl-C."""

import secrets
import socket
import threading
import webbrowser
from collections.abc import Callable

import uvicorn

from volseg.errors import UserError
from volseg.viewer.app import build_app
from volseg.viewer.guard import Guard
from volseg.viewer.session import Session

HOST = "127.0.0.1"
CLOSING_SECONDS = 10  # for what is being saved


def serve(session: Session, *, port: int, browser: bool, tell: Callable[[str], None]) -> None:
    """Serve the page until Ctrl-C or SIGTERM; `tell` is given its address, once it answers there.

    Raises:
        UserError: the port is taken.
    """
    session.restore_all()
    token = secrets.token_urlsafe(24)
    with _listen(port) as listener:
        taken: int = listener.getsockname()[1]
        address = f"http://{HOST}:{taken}/{token}/"
        config = uvicorn.Config(
            Guard(build_app(session), token, taken),
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=CLOSING_SECONDS,
        )
        tell(address)
        threading.Thread(target=session.warm_up, daemon=True).start()  # while the browser starts
        if browser:  # beside the server: some browsers end before this returns
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        try:
            uvicorn.Server(config).run(sockets=[listener])
        except KeyboardInterrupt:  # the usual end; the server has closed before
            return


def _listen(port: int) -> socket.socket:
    """A socket at this machine's own address, which no other machine reaches."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise UserError(f"--port {port}: can't be used ({error.strerror}); leave it out") from error
    return listener
