"""Limits of the service, and refusals. Decoding processes read them without the web framework."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The limits of the service, which refuses requests beyond them."""

    megabytes: int = 20  # per request
    megapixels: int = 50  # per image, read from its header before decoding
    images: int = 32  # per request
    waiting: int = 128  # images in the service at once
    batch_size: int = 32  # images computed together
    gather: float = 0.005  # seconds that a batch waits for more images
    timeout: float = 30.0  # seconds for an upload, for its response, and for a client's pause in reading
    decoding: float = 10.0  # CPU seconds to decode an image
    memory: int = 2500  # megabytes per decoding process
    connections: int = 256  # open at once
    head: int = 32_768  # bytes of request line and headers
    head_timeout: float = 10.0  # seconds for the head to arrive


class Refused(Exception):
    """A refused request or image, with the HTTP status and a reason of one line."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


def head_too_long(limits: Limits) -> str:
    """Return the reason for refusing a request with long headers."""
    return f"the headers exceed the limit of {limits.head:,} bytes; send shorter ones"
