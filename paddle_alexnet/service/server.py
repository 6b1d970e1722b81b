"""Server process of the service: socket, connections and graceful shutdown."""

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

_LINGER, _DRAIN = 2.0, 1_000_000  # seconds and bytes for a client that still sends to read its response
_PART = 16_384  # bytes parsed at once


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address; port 0 picks a free port."""
    if port > 65_535:
        raise UserError(f"port {port}: exceeds 65535; choose another port")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise UserError(
            f"{host}:{port}: cannot listen there ({error.strerror or error}); choose another port or host"
        ) from None


def address_of(listening: socket.socket) -> str:
    """Return the URL of a listening socket."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


class Server(uvicorn.Server):
    """A server that on SIGINT or SIGTERM finishes requests within `limits.timeout`, then raises the signal.

    Args:
        started: Called when the server accepts requests.
    """

    def __init__(self, app: FastAPI, limits: Limits, *, started: Callable[[], None] = lambda: None) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=type("_LimitedConnection", (_Connection,), {"limits": limits}),
                h11_max_incomplete_event_size=limits.head,
                log_config=None,
                log_level="error",  # no line for each invalid request
                access_log=False,
                server_header=False,
                ws="none",
                lifespan="on",
                timeout_keep_alive=30,
                timeout_graceful_shutdown=max(1, round(limits.timeout)),
            )
        )
        self._started = started

    async def startup(self, sockets: Optional[list[socket.socket]] = None) -> None:
        await super().startup(sockets)
        self._started()


class _Connection(H11Protocol):
    """A connection with limited time to send the head of a request and to read the response.

    Beyond `limits.connections` open connections, the one that has waited longest for a request is closed.
    """

    limits: Limits

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._timer: Optional[asyncio.TimerHandle] = None  # for the head, or the rest of an unread body
        self._reading: Optional[asyncio.TimerHandle] = None  # for the client's reading
        self._waiting_since = self.loop.time()
        self._refused = False
        self._unread = 0  # bytes received after the response
        self._lines = self._chunked = 0  # line ends and bytes of a chunked body

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            waiting = [one for one in self.connections if one is not self and not one._answering()]
            if not waiting:
                self._refuse(503, "too many connections; try again")
                return
            min(waiting, key=lambda one: one._waiting_since).transport.abort()
        self._await(self.limits.head_timeout, self._late)

    def data_received(self, data: bytes) -> None:
        for start in range(0, len(data), _PART):
            if not self._refused and not self.transport.is_closing():
                super().data_received(data[start : start + _PART])
                if self._has_tiny_chunks(data[start : start + _PART]):
                    self.transport.abort()
        if self._refused or self._answered_early():
            self._unread += len(data)
            if self._unread > _DRAIN:
                self.transport.abort()
        elif self._answering():
            self._await(math.inf, self._late)
        elif self._timer is None:
            self._await(self.limits.head_timeout, self._late)

    def _has_tiny_chunks(self, data: bytes) -> bool:
        """Return whether a body has chunks of a few bytes, which take seconds per megabyte to parse."""
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
        error = sys.exc_info()[1]  # uvicorn calls this method in its except block
        if getattr(error, "error_status_hint", 400) == 431:
            self._refuse(431, head_too_long(self.limits))
        else:
            self._refuse(400, "not an HTTP/1.1 request")

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
        """Return whether the client still sends a request that has its response."""
        return self.conn.their_state is h11.SEND_BODY and not self._answering()

    def _await(self, seconds: float, otherwise: Callable[[], None]) -> None:
        """Restart the timer."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds == math.inf else self.loop.call_later(seconds, otherwise)

    def _late(self) -> None:
        self._refuse(408, f"no complete request within {self.limits.head_timeout:g} s")

    def _refuse(self, status: int, reason: str) -> None:
        """Respond, stop reading, and close the connection soon."""
        self._refused = True
        if self._answering():  # this response would mix with that of an earlier request
            self.transport.close()
            return
        body = json.dumps({"detail": reason}).encode()
        head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
        self.transport.write(f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
        self.transport.write_eof()
        self._await(_LINGER, self.transport.abort)
