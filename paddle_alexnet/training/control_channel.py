"""Control messages between the processes of a run: heartbeats, barriers, failures.

The messages are lines of text over a TCP connection between rank 0 and each other rank. Paddle's collectives do not
suffice: gloo's time out after 30 seconds, although rank 0 may decode a data set for an hour; NCCL's wait forever,
although the other machine may be down.
"""

import os
import socket
import sys
import threading
from collections import Counter
from contextlib import suppress
from typing import NoReturn, Optional

from paddle_alexnet.system.errors import UserError

HEARTBEAT = 5.0  # seconds between heartbeats
SILENCE = 30.0  # seconds without a heartbeat after which a process counts as dead
GRACE = 10.0  # seconds for an orderly end after another process has failed

_ALIVE, _ARRIVED, _GO, _LEAVING, _FAILED, _STOP = "alive", "arrived", "go", "leaving", "failed", "stop"


class ControlChannel:
    """The connections of this rank: rank 0 has one to each other rank, the others have one to rank 0."""

    def __init__(self, rank: int, connections: dict[int, socket.socket]) -> None:
        self.rank, self.connections = rank, connections
        self.lost: Optional[str] = None  # the rank that has failed, and its error
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._received: Counter[tuple[int, str]] = Counter()
        self._barriers, self._stop = 0, False
        for peer, connection in connections.items():
            connection.settimeout(SILENCE)
            threading.Thread(target=self._listen, args=(peer, connection), daemon=True).start()
        threading.Thread(target=self._beat, daemon=True).start()

    def barrier(self, *, stop: bool = False) -> bool:
        """Wait without a timeout for all ranks, and return whether any of them has asked to `stop` so far.

        Raises:
            UserError: Another rank has failed.
        """
        self._barriers += 1
        if self.rank:
            self._send(f"{_ARRIVED} {_STOP}" if stop else _ARRIVED)
            self._wait_for(_GO)
        else:
            self._wait_for(_ARRIVED)
            self._stop |= stop
            self._send(f"{_GO} {_STOP}" if self._stop else _GO)
        return self._stop

    def failure(self, *, within: float) -> Optional[str]:
        """Return the error of a rank that reports one or falls silent within `within` seconds, else None."""
        with self._changed:
            self._changed.wait_for(lambda: self.lost is not None, timeout=within)
        return self.lost

    def fail(self, reason: str) -> None:
        """Tell the other ranks that this rank ends with an error."""
        self._send(f"{_FAILED} rank {self.rank}: {' '.join(reason.split())}")

    def close(self) -> None:
        """Tell the other ranks that this rank ends without an error, and close the connections."""
        self._send(_LEAVING)
        self._closed.set()
        for connection in self.connections.values():
            connection.close()

    def _wait_for(self, message: str) -> None:
        def all_sent() -> bool:
            return all(self._received[peer, message] >= self._barriers for peer in self.connections)

        with self._changed:
            self._changed.wait_for(lambda: self.lost is not None or all_sent())
            if not all_sent():
                raise UserError(str(self.lost))

    def _send(self, message: str) -> None:
        for connection in self.connections.values():
            with suppress(OSError):  # the listener notices it too
                connection.sendall(f"{message}\n".encode())

    def _beat(self) -> None:
        while not self._closed.wait(HEARTBEAT):
            self._send(_ALIVE)

    def _listen(self, peer: int, connection: socket.socket) -> None:
        reason = f"rank {peer}: ended without a message; look at its log, its machine and the network"
        # The connection is closed, here or there, or silent for too long.
        with suppress(OSError, ValueError), connection.makefile("r", encoding="utf-8") as lines:
            for line in lines:
                message, _, text = line.strip().partition(" ")
                if message == _LEAVING:
                    return
                if message == _FAILED:
                    reason = text
                    break
                with self._changed:
                    self._received[peer, message] += 1
                    self._stop |= text == _STOP
                    self._changed.notify_all()
        if not self._closed.is_set():
            self._give_up(reason)

    def _give_up(self, reason: str) -> None:
        with self._changed:
            if self.lost is not None:
                return
            self.lost = reason
            self._changed.notify_all()
        self._send(f"{_FAILED} {reason}")  # rank 0 passes it on
        # The main thread may be in a collective that never ends. Wait before ending it, so that on the failed rank's
        # machine the launcher notices that rank first and shows its log.
        if not self._closed.wait(GRACE):
            _end(reason)


def open_channel(
    rank: int, connections: int, host: str, port: int, listener: Optional[socket.socket]
) -> ControlChannel:
    """Connect the ranks: rank 0 accepts `connections` at its `listener`, the others connect to its host and port."""
    if listener is None:
        connection = socket.create_connection((host, port), timeout=SILENCE)
        connection.sendall(f"{rank}\n".encode())
        return ControlChannel(rank, {0: connection})
    peers: dict[int, socket.socket] = {}
    with listener:
        listener.settimeout(SILENCE)
        while len(peers) < connections:
            connection, _ = listener.accept()
            connection.settimeout(SILENCE)
            peers[int(_read_line(connection))] = connection
    return ControlChannel(rank, peers)


def _read_line(connection: socket.socket) -> str:
    text = b""
    while not text.endswith(b"\n"):
        text += connection.recv(1)
    return text.decode()


def _end(reason: str) -> NoReturn:
    sys.stdout.flush()
    os.write(2, f"error: {reason}\n".encode())
    os._exit(2)
