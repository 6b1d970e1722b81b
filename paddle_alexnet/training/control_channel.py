"""What the processes of one run tell each other beside gradients: I am alive, I am there, I have failed.

Plain text lines over a TCP connection between rank 0 and each other rank. Paddle's own collectives do not suffice:
gloo's give up after 30 seconds, though the first process may be decoding a data set for an hour; NCCL's wait for ever,
though the other machine may have lost its power.
"""

import os
import socket
import sys
import threading
from collections import Counter
from contextlib import suppress
from typing import NoReturn, Optional

from paddle_alexnet.system.errors import UserError

HEARTBEAT = 5.0  # seconds between two signs of life
SILENCE = 30.0  # seconds without one after which a process is taken for dead
GRACE = 10.0  # seconds that a process has to end in good order after another one has failed

_ALIVE, _ARRIVED, _GO, _LEAVING, _FAILED, _STOP = "alive", "arrived", "go", "leaving", "failed", "stop"


class ControlChannel:
    """This rank's connections: rank 0 has one to each other rank, the others have one to rank 0."""

    def __init__(self, rank: int, connections: dict[int, socket.socket]) -> None:
        self.rank, self.connections = rank, connections
        self.lost: Optional[str] = None  # why the run cannot go on: which rank has failed, and its error
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._received: Counter[tuple[int, str]] = Counter()
        self._barriers, self._stop = 0, False
        for peer, connection in connections.items():
            connection.settimeout(SILENCE)
            threading.Thread(target=self._listen, args=(peer, connection), daemon=True).start()
        threading.Thread(target=self._beat, daemon=True).start()

    def barrier(self, *, stop: bool = False) -> bool:
        """Wait, however long, until every rank has come here; whether one of them has asked to `stop`, here or before.

        Raises UserError if one has failed.
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
        """Why another rank has failed, if it says so or falls silent within so many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self.lost is not None, timeout=within)
        return self.lost

    def fail(self, reason: str) -> None:
        """Tell the others that this rank ends, and why."""
        self._send(f"{_FAILED} rank {self.rank}: {' '.join(reason.split())}")

    def close(self) -> None:
        """Leave; the others do not take it for a failure."""
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
            with suppress(OSError):  # which its listener notices, too
                connection.sendall(f"{message}\n".encode())

    def _beat(self) -> None:
        while not self._closed.wait(HEARTBEAT):
            self._send(_ALIVE)

    def _listen(self, peer: int, connection: socket.socket) -> None:
        reason = f"rank {peer}: ended without a word: killed, or its machine or network is down"
        # It is closed, or silent for too long, or closed here.
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
        # The main thread may be deep in a collective that never ends. On the machine of the rank that failed, the
        # launcher shall notice that one first, and show its log.
        if not self._closed.wait(GRACE):
            _end(reason)


def open_channel(
    rank: int, connections: int, host: str, port: int, listener: Optional[socket.socket]
) -> ControlChannel:
    """Connect the ranks: rank 0 waits at its `listener` for the others, which call at its host and port."""
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
