"""The service as a process: its address, and its end when asked to stop."""

import socket
from typing import Callable, Optional

import uvicorn
from fastapi import FastAPI

from paddle_alexnet.errors import UserError


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

    What is being answered then has `timeout` seconds to be done. Afterwards the signal is raised again.
    """

    def __init__(self, app: FastAPI, *, timeout: float, started: Callable[[], None] = lambda: None) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                ws="none",
                lifespan="on",
                timeout_keep_alive=30,
                timeout_graceful_shutdown=max(1, round(timeout)),
            )
        )
        self._say_started = started

    async def startup(self, sockets: Optional[list[socket.socket]] = None) -> None:
        await super().startup(sockets)
        self._say_started()
