"""What the service takes on, and how it says that it does not."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """How much the service takes on; beyond that it refuses with a status and a reason."""

    megabytes: int = 20  # of a request
    megapixels: int = 50  # of an image, by its header: nothing larger is decoded
    images: int = 32  # of a request
    waiting: int = 128  # images that are in the service at a time
    batch_size: int = 32  # images that are computed together, at most
    gather: float = 0.005  # seconds that a batch waits for more images
    timeout: float = 30.0  # seconds for an upload to arrive, again for its answer, and for a client to read on
    decoding: float = 10.0  # seconds of processor time to decode an image
    memory: int = 2500  # megabytes of a process that decodes
    connections: int = 256  # open at a time
    head: int = 32_768  # bytes of a request line and its headers
    head_timeout: float = 10.0  # seconds for these to arrive


class Refused(Exception):
    """A request, or an image of one, that is not answered: the HTTP status and, in one line, the reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


def head_too_long(limits: Limits) -> str:
    """Return the reason to refuse a request for its line and headers."""
    return f"the headers are too long: at most {limits.head:,} bytes are taken"
