"""Bounds on what a connection may send before memory is taken for it, and who may have one at all."""

import ipaddress
import socket
import threading
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from volseg.dicom.node.settings import MEGABYTE, Caller, Listen

if TYPE_CHECKING:
    from pynetdicom.association import Association
    from pynetdicom.events import Event
    from pynetdicom.transport import AssociationSocket

LARGEST_PDU = 2**20 + 4096
"""Bytes of a message of the network: more than a request of an association has, and than is asked for."""
SPARE = 8
"""Connections beside those of associations: of partners that are on their way in, or turned away."""
REJECTED_CALLER, REJECTED_CALLED, REJECTED_BUSY = (1, 1, 3), (1, 1, 7), (2, 3, 2)
"""Result, source and reason of A-ASSOCIATE-RJ: calling or called AE title not recognised, local limit."""


def is_allowed(callers: tuple[Caller, ...], ae_title: str, address: str) -> bool:
    """Whether a caller of this AE title may send from this address."""
    return any(one.ae_title == ae_title and _is_within(address, one.address) for one in callers)


def _is_within(address: str, network: str) -> bool:
    place = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(place, ipaddress.IPv6Address) and place.ipv4_mapped:
        place = place.ipv4_mapped
    return place in ipaddress.ip_network(network)


def requested_titles(association: "Association") -> tuple[str, str]:
    """The calling and the called AE title of a request."""
    request = association.requestor.primitive
    if request is None:
        return "", ""
    return str(request.calling_ae_title or "").strip(), str(request.called_ae_title or "").strip()


class ConnectionGuard:
    """Handlers of events of pynetdicom that keep each connection within bounds."""

    def __init__(self, listen: Listen) -> None:
        self.listen = listen
        self._lock = threading.Lock()
        self._admitted: set[Association] = set()
        self._readers: WeakKeyDictionary[Association, _BoundedReader] = WeakKeyDictionary()

    @property
    def admitted(self) -> int:
        """The number of associations at present."""
        with self._lock:
            return self._count_alive()

    def _count_alive(self) -> int:
        self._admitted = {one for one in self._admitted if one.is_alive()}
        return len(self._admitted)

    def limit_connection(self, event: "Event") -> None:
        """On EVT_CONN_OPEN: from now on, what is read is counted."""
        reader = event.assoc.dul.socket
        if reader is None:
            return
        bounded = _BoundedReader(reader, int(self.listen.max_instance_mb * MEGABYTE) + LARGEST_PDU)
        self._readers[event.assoc] = bounded
        reader.recv = bounded.recv  # type: ignore[method-assign]

    def check_caller(self, event: "Event") -> str:
        """On EVT_REQUESTED: the reason for which an association is rejected, or nothing."""
        association = event.assoc
        calling, called = requested_titles(association)
        if not is_allowed(self.listen.callers, calling, association.requestor.address):
            return _reject(association, REJECTED_CALLER, "this AE title may not call from there")
        if called != self.listen.ae_title:
            return _reject(association, REJECTED_CALLED, "it called another AE title")
        with self._lock:
            if self._count_alive() < self.listen.max_associations:
                self._admitted.add(association)
                return ""
        return _reject(association, REJECTED_BUSY, "too many associations")

    def count_message(self, event: "Event") -> None:
        """On EVT_DIMSE_RECV: end an association that does not wait for answers, which would fill memory."""
        if event.assoc.dimse.msg_queue.qsize() > 0:
            event.assoc.abort()

    def allow_next(self, event: "Event") -> None:
        """On EVT_DIMSE_SENT: the answer is sent, so the next message may come."""
        if bounded := self._readers.get(event.assoc):
            bounded.count = 0


class _BoundedReader:
    """Reads from a socket so many bytes at most until the next answer."""

    def __init__(self, reader: "AssociationSocket", most: int) -> None:
        self._read, self._socket = reader.recv, reader.socket
        self._most = most
        self.count = 0

    def recv(self, nr_bytes: int) -> bytearray:
        """Read so many bytes.

        Raises:
            OSError: the message is too long, so the connection is closed.
        """
        self.count += nr_bytes
        if nr_bytes > LARGEST_PDU or self.count > self._most:
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)  # else the partner waits for an answer
            raise OSError
        return self._read(nr_bytes)


def _reject(association: "Association", reason: tuple[int, int, int], told: str) -> str:
    association.acse.send_reject(*reason)
    association.is_rejected = True
    association.kill()
    return told
