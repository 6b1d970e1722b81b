"""A service in a thread of this process, at a free port of this machine. Needs the extra [serve]."""

import json
import threading
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

from paddle_alexnet.service.app import create_app
from paddle_alexnet.service.limits import Limits
from paddle_alexnet.service.samples import Sample
from paddle_alexnet.service.served_model import Served
from paddle_alexnet.service.server import Server, address_of, listen


class Response(NamedTuple):
    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Service:
    """What answers at an address."""

    def __init__(self, address: str, server: Server) -> None:
        self.address, self.server = address, server

    def get(self, path: str) -> Response:
        return self._open(urllib.request.Request(self.address + path))

    def post(self, path: str, body: bytes, kind: str, **headers: str) -> Response:
        return self._open(urllib.request.Request(self.address + path, body, {"Content-Type": kind, **headers}))

    def send(self, path: str, *files: bytes) -> Response:
        """Send files as a form."""
        return self.post(path, *form(*files))

    def _open(self, request: urllib.request.Request) -> Response:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return Response(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Response(error.code, error.headers, error.read())


def form(*files: bytes) -> tuple[bytes, str]:
    """A form that holds files, 0.png and so on, and its content type."""
    border = uuid.uuid4().hex
    head = '--{}\r\ncontent-disposition: form-data; name="file"; filename="{}.png"\r\n\r\n'
    parts = [head.format(border, n).encode() + file + b"\r\n" for n, file in enumerate(files)]
    return b"".join([*parts, f"--{border}--\r\n".encode()]), f"multipart/form-data; boundary={border}"


@contextmanager
def running(served: Served, limits: Limits, samples: Sequence[Sample] = (), **more: Any) -> Iterator[Service]:
    """A service that ends with the block; `more` is for `create_app`."""
    started = threading.Event()
    with closing(listen("127.0.0.1", 0)) as listening:
        server = Server(create_app(served, limits, samples, **more), limits, started=started.set)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            assert started.wait(20)
            yield Service(address_of(listening), server)
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()
