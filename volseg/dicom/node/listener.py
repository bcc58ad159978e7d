"""The server: associations of callers that are allowed, C-ECHO and C-STORE."""

import logging
import socket
import socketserver
import threading
import time
from typing import TYPE_CHECKING, Any

from volseg.dicom.node.connection_guard import SPARE, ConnectionGuard, requested_titles
from volseg.dicom.node.receiver import Receiver
from volseg.dicom.node.settings import Listen
from volseg.dicom.node.storage import IMAGE_CLASSES, TRANSFER_SYNTAXES
from volseg.dicom.node.tls import server_context
from volseg.errors import UserError

if TYPE_CHECKING:
    from pynetdicom.events import Event, EventHandlerType
    from pynetdicom.transport import ThreadedAssociationServer

VERIFICATION = "1.2.840.10008.1.1"
log = logging.getLogger(__name__)


class Listener:
    """The node's server, in threads of its own until it is closed."""

    def __init__(self, listen: Listen, receiver: Receiver) -> None:
        self.listen = listen
        self.guard = ConnectionGuard(listen)
        self._server = self._bind(receiver)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.2,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that it listens at."""
        return int(self._server.server_address[1])

    def _bind(self, receiver: Receiver) -> "ThreadedAssociationServer":
        """The server, bound to its address.

        Raises:
            UserError: the address is not of this machine, or the port is taken.
        """
        from pynetdicom import AE

        listen = self.listen
        entity = AE(ae_title=listen.ae_title)
        entity.maximum_associations = (
            listen.max_associations + 2 * SPARE
        )  # the guard counts those that are let in
        entity.maximum_pdu_size = listen.max_pdu_bytes
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = listen.timeout_seconds
        entity.add_supported_context(VERIFICATION)
        for uid in IMAGE_CLASSES:
            entity.add_supported_context(uid, list(TRANSFER_SYNTAXES))
        secured = server_context(listen.tls) if listen.tls else None
        place = f"{listen.address}:{listen.port}"
        try:
            return entity.make_server(
                (listen.address, listen.port), evt_handlers=self._handlers(receiver), ssl_context=secured,
                server_class=_server_class(listen),
            )  # fmt: skip
        except OSError as error:
            raise UserError(f"listen: {place}: can't listen there: {error.strerror}") from error

    def _handlers(self, receiver: Receiver) -> "list[EventHandlerType]":
        from pynetdicom import evt

        guard = self.guard
        return [
            (evt.EVT_CONN_OPEN, guard.limit_connection),
            (evt.EVT_REQUESTED, self._check_caller),
            (evt.EVT_DIMSE_RECV, guard.count_message),
            (evt.EVT_DIMSE_SENT, guard.allow_next),
            (evt.EVT_C_ECHO, receiver.answer_echo),
            (evt.EVT_C_STORE, receiver.answer_store),
        ]

    def _check_caller(self, event: "Event") -> None:
        if reason := self.guard.check_caller(event):
            calling, _ = requested_titles(event.assoc)
            log.warning("rejected %a from %s: %s", calling, event.assoc.requestor.address, reason)

    def close(self, seconds: float) -> None:
        """Take no new associations, and end those that are open after so many seconds at most."""
        socketserver.BaseServer.shutdown(self._server)
        self._server.server_close()
        deadline = time.monotonic() + seconds
        while self.guard.admitted and time.monotonic() < deadline:
            time.sleep(0.05)
        for association in self._server.active_associations:
            association.abort()


def _server_class(listen: Listen) -> "type[ThreadedAssociationServer]":
    """A server that bounds the number of connections, and shakes hands for TLS in each one's own thread."""
    from pynetdicom.transport import ThreadedAssociationServer

    class BoundedServer(ThreadedAssociationServer):
        daemon_threads = True

        def verify_request(self, _request: Any, _client_address: Any) -> bool:
            return len(self.active_associations) < listen.max_associations + SPARE

        def get_request(self) -> tuple[socket.socket, Any]:
            if self.socket is None:
                raise OSError
            connection, address = self.socket.accept()
            connection.settimeout(listen.timeout_seconds)
            return connection, address

        def finish_request(self, request: Any, client_address: Any) -> None:
            if self.ssl_context:
                request = self.ssl_context.wrap_socket(request, server_side=True)
            super().finish_request(request, client_address)

        def handle_error(self, _request: Any, client_address: Any) -> None:
            log.warning("a connection from %s failed, as one without TLS does", client_address[0])

    return BoundedServer
