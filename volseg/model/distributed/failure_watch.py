"""The end of all ranks when one of them fails or dies, however they were started.

Each rank keeps a connection with rank 0, which a thread watches. The system closes it with its process,
however that ends, so no rank is asked whether it lives, and a slow one is never taken for dead.
"""

import logging
import os
import secrets
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import BinaryIO

from torch.distributed.distributed_c10d import Store

GRACE = 5.0
"""Seconds in which a rank ends by itself when another has failed; after them its process is ended."""
ANSWER = 2.0
"""Seconds in which rank 0 says which of several ranks failed first."""
KEY, DONE, FAILED = "failure_watch", b"done\n", b"failed\n"
log = logging.getLogger(__name__)


@dataclass
class Peer:
    """A connection with another rank; each side sends one line: it is done, it failed, or who did."""

    connection: socket.socket
    reader: BinaryIO = field(init=False)

    def __post_init__(self) -> None:
        self.reader = self.connection.makefile("rb")

    def send(self, line: bytes) -> None:
        """Send a line, unless the other has ended."""
        with suppress(OSError):
            self.connection.sendall(line)

    def receive(self) -> bytes:
        """The other's line; empty when it has ended without one."""
        try:
            return self.reader.readline()
        except OSError:
            return b""

    def close(self) -> None:
        """End the connection."""
        self.reader.close()
        self.connection.close()


class FailureWatch:
    """What one rank knows about the ends of the others: of all on rank 0, elsewhere of rank 0.

    `speaker` is the rank that tells the user why all end: the one that failed first, or for one that died
    without a word, `dead`, the first one left. `known` is set when there is one.
    """

    def __init__(self, rank: int, count: int, peers: dict[int, Peer]) -> None:
        self.rank, self.count, self.peers = rank, count, peers
        self.speaker: int | None = None
        self.dead: int | None = None
        self.known, self.left = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        for other in peers:
            threading.Thread(target=self._listen, args=(other,), daemon=True).start()

    def tell_failure(self) -> bool:
        """Tell the others that this rank fails; return whether it is the one to tell the user why."""
        if self.rank == 0:
            self._learn(speaker=0)
        else:
            self.peers[0].send(FAILED)
            self.known.wait(ANSWER)
        return self._speaks()

    def reason(self) -> str:
        """Why this rank ends, if it is the one to tell of another's death; else empty."""
        if self.dead is None or self.speaker != self.rank:
            return ""
        return (
            f"rank {self.rank} of {self.count} ends because rank {self.dead} has ended without a word, as if "
            "killed, which often is for want of memory; go on from the last checkpoint with --resume"
        )

    def leave(self) -> None:
        """Go: the others may end now, and this process has no more to fear of them."""
        self.left.set()
        for peer in self.peers.values():
            peer.send(DONE)
            with suppress(OSError):
                peer.connection.shutdown(socket.SHUT_WR)

    def _listen(self, other: int) -> None:
        """Wait for the line of another rank; if it failed or died, end this process unless it ends itself."""
        line = self.peers[other].receive()
        if line != DONE and not self.left.is_set():
            self._note_failure(other, line)
        self.peers[other].close()
        if self.known.is_set() and not self._speaks() and not self.left.wait(GRACE):
            if self.reason():
                log.critical("%s", self.reason())
            os._exit(1)  # its main thread works, or waits in a collective that can't be left

    def _note_failure(self, other: int, line: bytes) -> None:
        if self.rank == 0:
            self._learn(speaker=other if line == FAILED else 0, dead=None if line == FAILED else other)
        else:
            self._learn(speaker=int(line or 1), dead=None if line else 0)

    def _speaks(self) -> bool:
        """Whether it is for this rank to tell an error of its own."""
        return self.speaker in (None, self.rank) and self.dead is None

    def _learn(self, speaker: int, dead: int | None = None) -> None:
        """Note the first failure, and on rank 0 tell the others of it."""
        with self._lock:
            if self.speaker is not None:
                return
            self.speaker, self.dead = speaker, dead
            for peer in self.peers.values() if self.rank == 0 else ():
                peer.send(b"%d\n" % speaker)  # before another thread closes the connection
            self.known.set()


def connect_ranks(store: Store, rank: int, count: int, patience: timedelta) -> FailureWatch:
    """Connect this rank with rank 0, or on rank 0 with all others; they find it through the store.

    Raises:
        OSError: the others don't come, or can't be reached.
    """
    if rank:
        port, token = store.get(KEY).decode().split()
        address = os.environ["MASTER_ADDR"], int(port)
        peer = Peer(socket.create_connection(address, patience.total_seconds()))
        peer.connection.settimeout(None)
        peer.connection.sendall(f"{token} {rank}\n".encode())
        return FailureWatch(rank, count, {0: peer})
    token = secrets.token_hex()
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    with socket.create_server(("", 0), family=family, dualstack_ipv6=dual) as server:
        server.settimeout(patience.total_seconds())
        store.set(KEY, f"{server.getsockname()[1]} {token}")
        return FailureWatch(0, count, _accept_ranks(server, token, count))


def _accept_ranks(server: socket.socket, token: str, count: int) -> dict[int, Peer]:
    """The connections of the other ranks by their numbers; what does not know the token is none of them."""
    peers: dict[int, Peer] = {}
    while len(peers) < count - 1:
        connection, _ = server.accept()
        connection.settimeout(ANSWER)
        peer = Peer(connection)
        known, _, number = peer.receive().decode(errors="replace").partition(" ")
        if secrets.compare_digest(known.encode(), token.encode()):
            connection.settimeout(None)
            peers[int(number)] = peer
        else:
            peer.close()
    return peers
