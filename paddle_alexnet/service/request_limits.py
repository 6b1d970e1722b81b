"""ASGI middleware for request limits, metrics and response headers."""

import asyncio
import json
import time
from collections.abc import Awaitable, MutableMapping
from contextlib import AbstractContextManager, ExitStack
from typing import Any, Callable

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from paddle_alexnet.service.limits import Limits, Refused, head_too_long
from paddle_alexnet.service.prometheus import Metrics

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]
_DRAIN_SECONDS = 2.0
_CLIENT_CLOSED = 499  # nginx's status of an aborted request, for metrics only


class RequestLimits:
    """A middleware that refuses large bodies (413), slow bodies (408), and any body if the service is full (429).

    HEAD is handled as GET; the server leaves out the body.
    """

    def __init__(
        self,
        app: App,
        *,
        room: Callable[[int], AbstractContextManager[None]],
        limits: Limits,
        metrics: Metrics,
        paths: frozenset[str],
    ) -> None:
        self._app, self._room, self._limits, self._metrics, self._paths = app, room, limits, metrics, paths

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in self._paths else "other"
        started, status = time.perf_counter(), 500

        async def send_counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        body = _Body(receive, self._limits)
        try:
            with ExitStack() as stack:
                try:
                    _check_head(scope, self._limits)
                    if scope["method"] == "POST":
                        _check_length(scope, self._limits)
                        stack.enter_context(self._room(1))
                except Refused as refusal:
                    if not _expects_continue(scope):
                        await body.drain()
                    await _answer(send_counted, refusal)
                else:
                    await self._app(scope, body.receive, send_counted)
        except ClientDisconnect:  # in the middle of its upload
            status = _CLIENT_CLOSED
        finally:
            self._metrics.requests.labels(path, status).inc()
            self._metrics.seconds.labels(path).observe(time.perf_counter() - started)


class _Body:
    """The body of a request, received within the limits."""

    def __init__(self, receive: Receive, limits: Limits) -> None:
        self._receive, self._limits = receive, limits
        self._read, self._whole = 0, False
        self._deadline = time.monotonic() + limits.timeout

    async def receive(self) -> Message:
        """Return the next part, or raise HTTPException with 413 or 408."""
        if self._whole:
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, self._deadline - time.monotonic()))
        except asyncio.TimeoutError:
            raise HTTPException(408, f"the upload did not arrive within {self._limits.timeout:g} s") from None
        self._note(message)
        if self._read > self._limits.megabytes * 1e6:
            await self.drain()
            raise HTTPException(413, _too_large(self._limits))
        return message

    async def drain(self) -> None:
        """Read on for a moment, because some clients read the response only after sending the body."""
        end, most = time.monotonic() + _DRAIN_SECONDS, self._read + 4 * self._limits.megabytes * 1e6
        while not self._whole and self._read < most:
            try:
                self._note(await asyncio.wait_for(self._receive(), max(0.0, end - time.monotonic())))
            except asyncio.TimeoutError:
                return

    def _note(self, message: Message) -> None:
        self._read += len(message.get("body", b""))
        self._whole = message["type"] != "http.request" or not message.get("more_body", False)


def _check_head(scope: MutableMapping[str, Any], limits: Limits) -> None:
    lengths = [len(name) + len(value) for name, value in scope["headers"]]
    if sum(lengths) + len(scope["raw_path"]) + len(scope["query_string"]) > limits.head:
        raise Refused(431, head_too_long(limits))


def _check_length(scope: MutableMapping[str, Any], limits: Limits) -> None:
    for name, value in scope["headers"]:
        if name == b"content-length" and int(value) > limits.megabytes * 1e6:
            raise Refused(413, _too_large(limits))


def _too_large(limits: Limits) -> str:
    return f"the request exceeds the limit of {limits.megabytes} megabytes; send smaller images or fewer"


def _expects_continue(scope: MutableMapping[str, Any]) -> bool:
    """Return whether the client waits for `100 Continue` before it sends the body."""
    return any(name == b"expect" for name, _ in scope["headers"])


async def _answer(send: Send, refusal: Refused) -> None:
    body = json.dumps({"detail": refusal.reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if refusal.status == 429:
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
