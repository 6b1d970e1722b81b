"""The service as a process: its address, its connections, and its end when asked to stop."""

import asyncio
import json
import math
import socket
import sys
from http import HTTPStatus
from typing import Any, Callable, Optional

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from paddle_alexnet.service.limits import Limits, head_too_long
from paddle_alexnet.system.errors import UserError

_LINGER, _DRAIN = 2.0, 1_000_000  # seconds and bytes in which a client that is still sending can see its answer
_PART = 16_384  # bytes that are parsed in one go


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at an address; port 0 is a free one. Raises UserError where that cannot be done."""
    if port > 65_535:
        raise UserError(f"port {port}: there is no such port, they end at 65535")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise UserError(
            f"{host}:{port}: cannot listen there ({error.strerror or error}): name another port or host"
        ) from None


def address_of(listening: socket.socket) -> str:
    """The address of a socket as a browser takes it."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


class Server(uvicorn.Server):
    """Serves an application until SIGINT or SIGTERM comes, and says when it has `started`.

    What is being answered then has `limits.timeout` seconds to be done. Afterwards the signal is raised again.
    """

    def __init__(self, app: FastAPI, limits: Limits, *, started: Callable[[], None] = lambda: None) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=type("_LimitedConnection", (_Connection,), {"limits": limits}),
                h11_max_incomplete_event_size=limits.head,
                log_config=None,
                log_level="error",  # not a line for each client that sends nonsense
                access_log=False,
                server_header=False,
                ws="none",
                lifespan="on",
                timeout_keep_alive=30,
                timeout_graceful_shutdown=max(1, round(limits.timeout)),
            )
        )
        self._say_started = started

    async def startup(self, sockets: Optional[list[socket.socket]] = None) -> None:
        await super().startup(sockets)
        self._say_started()


class _Connection(H11Protocol):
    """A connection whose client has limited time to send the head of a request and to read the answer.

    If more than `limits.connections` are open, the one that has waited longest for a request is closed.
    """

    limits: Limits

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._timer: Optional[asyncio.TimerHandle] = None  # until the head is there, or the rest of an unread body
        self._reading: Optional[asyncio.TimerHandle] = None  # until the client reads on
        self._waiting_since = self.loop.time()
        self._refused = False
        self._unread = 0  # bytes that came after the answer to their request
        self._lines = self._chunked = 0  # ends of lines and bytes of a body that comes in chunks

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            waiting = [one for one in self.connections if one is not self and not one._answering()]
            if not waiting:
                self._refuse(503, "too many connections: try again")
                return
            min(waiting, key=lambda one: one._waiting_since).transport.abort()
        self._await(self.limits.head_timeout, self._late)

    def data_received(self, data: bytes) -> None:
        for start in range(0, len(data), _PART):
            if not self._refused and not self.transport.is_closing():
                super().data_received(data[start : start + _PART])
                if self._in_crumbs(data[start : start + _PART]):
                    self.transport.abort()
        if self._refused or self._answered_early():
            self._unread += len(data)
            if self._unread > _DRAIN:
                self.transport.abort()
        elif self._answering():
            self._await(math.inf, self._late)
        elif self._timer is None:
            self._await(self.limits.head_timeout, self._late)

    def _in_crumbs(self, data: bytes) -> bool:
        """Whether a body comes in chunks of a few bytes each, which take seconds a megabyte to put together."""
        if not self._answering() or (b"transfer-encoding", b"chunked") not in self.headers:
            self._lines = self._chunked = 0
            return False
        self._lines += data.count(b"\r\n")
        self._chunked += len(data)
        return self._lines > 1000 + self._chunked / 100

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._waiting_since = self.loop.time()
        self._await(_LINGER if self._answered_early() else math.inf, self.transport.abort)

    def send_400_response(self, msg: str) -> None:
        error = sys.exc_info()[1]  # uvicorn calls this where it catches it
        if getattr(error, "error_status_hint", 400) == 431:
            self._refuse(431, head_too_long(self.limits))
        else:
            self._refuse(400, "not a request of HTTP/1.1")

    def pause_writing(self) -> None:
        super().pause_writing()
        self._reading = self.loop.call_later(self.limits.timeout, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._reading is not None:
            self._reading.cancel()

    def connection_lost(self, exc: Optional[Exception]) -> None:
        super().connection_lost(exc)
        self._await(math.inf, self._late)
        if self._reading is not None:
            self._reading.cancel()

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _answered_early(self) -> bool:
        """Whether the client is still sending a request that has been answered."""
        return self.conn.their_state is h11.SEND_BODY and not self._answering()

    def _await(self, seconds: float, otherwise: Callable[[], None]) -> None:
        """Do something in so many seconds, in place of what was to be done before."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds == math.inf else self.loop.call_later(seconds, otherwise)

    def _late(self) -> None:
        self._refuse(408, f"no whole request within {self.limits.head_timeout:g} s")

    def _refuse(self, status: int, reason: str) -> None:
        """Answer, read no more, and close the connection when the client does, or soon."""
        self._refused = True
        if self._answering():  # an earlier request of this connection, whose answer would get mixed up with this one
            self.transport.close()
            return
        body = json.dumps({"detail": reason}).encode()
        head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
        self.transport.write(f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
        self.transport.write_eof()
        self._await(_LINGER, self.transport.abort)
