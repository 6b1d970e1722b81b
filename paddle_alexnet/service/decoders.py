"""Image decoding in processes with limits of time and memory."""

import asyncio
import base64
import binascii
import contextlib
import ctypes
import os
import queue
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection, Pipe
from typing import Any, Optional, Union

import numpy as np
from PIL import Image, UnidentifiedImageError

from paddle_alexnet.data.preprocess import Preprocess, open_image
from paddle_alexnet.service.limits import Limits, Refused
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.limits import available_cores

Content = Union[bytes, str]  # an image file, or its base64
Decoded = tuple[np.ndarray, Optional[np.ndarray]]  # preprocessed pixels, and the original if requested
ORIGINAL = 1024  # pixels of the longer side of an original in a response

_PROGRAM = "import sys; sys.path[:] = {path!r}; from paddle_alexnet.service.decoders import work; work({descriptor})"


class Decoders:
    """A pool of decoding processes, at most one per core, started on demand.

    An image is refused, and its process replaced, after `limits.decoding` CPU seconds or `limits.memory` megabytes.
    """

    def __init__(self, preprocess: Preprocess, limits: Limits) -> None:
        self._preprocess, self._limits = preprocess, limits
        self._threads = ThreadPoolExecutor(available_cores(), thread_name_prefix="decode")
        self._idle: queue.LifoQueue[_Process] = queue.LifoQueue()

    def start(self) -> None:
        """Start the first process."""
        self._idle.put(_Process(self._preprocess, self._limits))

    async def __call__(self, content: Content) -> np.ndarray:
        """Return an image as uint8 [S, S, 3].

        Raises:
            Refused: The content is no image, damaged, too large or too slow to decode.
        """
        return (await self._in_thread(content, False))[0]

    async def with_original(self, content: Content) -> tuple[np.ndarray, np.ndarray]:
        """Return an image as uint8 [S, S, 3], and as a whole, uint8 [H, W, 3], at most `ORIGINAL` pixels a side."""
        pixels, original = await self._in_thread(content, True)
        assert original is not None
        return pixels, original

    async def _in_thread(self, content: Content, whole: bool) -> Decoded:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._decode, content, whole)

    def stop(self) -> None:
        """End the processes after their current images."""
        self._threads.shutdown()
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().end()

    def _decode(self, content: Content, whole: bool) -> Decoded:
        try:
            process = self._idle.get_nowait()
        except queue.Empty:
            process = _Process(self._preprocess, self._limits)
        try:
            found = process.decode(content, whole)
        except BaseException:
            process.end()
            raise
        self._idle.put(process)
        if isinstance(found[0], np.ndarray):
            return found
        raise Refused(*found)


class _Process:
    """A process that decodes one image at a time."""

    def __init__(self, preprocess: Preprocess, limits: Limits) -> None:
        self._limits = limits
        self._connection, theirs = Pipe()
        with theirs:
            program = _PROGRAM.format(path=sys.path, descriptor=theirs.fileno())
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-c", program],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # libraries print a line for each damaged image
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # only the service handles Ctrl-C
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # unused threads reserve memory
            )
        self._connection.send((preprocess, limits))

    def decode(self, content: Content, whole: bool) -> Any:
        """Return pixels, or the status and reason of a refusal; after an exception, end the process."""
        ready = False
        with contextlib.suppress(EOFError, OSError):
            ready = self._connection.poll(60) and self._connection.recv()
        if not ready:
            raise Refused(503, "the service cannot start a decoding process; try again")
        try:
            self._connection.send((content, whole))
            return self._connection.recv()
        except (EOFError, OSError):
            slow = self._process.wait() == -signal.SIGPROF
            reason = f"takes more than {self._limits.decoding:g} s to decode" if slow else "cannot be decoded"
            raise Refused(422, f"the image {reason}; save it in another format") from None

    def end(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.kill()
        self._process.wait()


def work(descriptor: int) -> None:
    """Decode images from a connection until its other end is closed."""
    with Connection(descriptor) as connection, contextlib.suppress(EOFError, OSError):
        preprocess, limits = connection.recv()
        _limit_memory(limits.memory)
        while True:
            connection.send(True)
            content, whole = connection.recv()
            signal.setitimer(signal.ITIMER_PROF, limits.decoding)  # after this CPU time SIGPROF ends the process
            found = _decoded(content, whole, preprocess, limits)
            signal.setitimer(signal.ITIMER_PROF, 0)
            connection.send(found)


def _decoded(content: Content, whole: bool, preprocess: Preprocess, limits: Limits) -> Any:
    try:
        content = from_base64(content) if isinstance(content, str) else content
        pixels = decode(content, preprocess, megapixels=limits.megapixels)
        if not whole:
            return pixels, None
        original = preprocess.original(content)
        original.thumbnail((ORIGINAL, ORIGINAL), Image.Resampling.LANCZOS)
        return pixels, np.asarray(original)
    except Refused as refusal:
        return refusal.status, refusal.reason
    except MemoryError:
        return 413, f"the image takes more than {limits.memory} MB to decode; save it smaller or in another format"


def _limit_memory(megabytes: int) -> None:
    """Limit this process's memory if the system can, and return freed memory to the system."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (megabytes * 10**6, megabytes * 10**6))
    if sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallopt"):
        ctypes.CDLL(None).mallopt(-3, 1 << 20)  # the mmap threshold, which `system.bootstrap` raises


def decode(content: bytes, preprocess: Preprocess, *, megapixels: int) -> np.ndarray:
    """Return an image file's preprocessed pixels, uint8 [S, S, 3].

    Raises:
        Refused: The content is no image (415), has more than `megapixels` (413), or is damaged (422).
        MemoryError: Memory is exhausted.
    """
    try:
        with open_image(content) as image:
            width, height = image.size
    except UnidentifiedImageError:
        raise Refused(415, "not an image of a known format; send JPEG or PNG") from None
    except MemoryError:
        raise
    except UserError as error:  # the format requires another package
        raise Refused(415, f"the image {error}") from None
    except Exception as error:  # a damaged file may raise anything
        raise Refused(422, f"the image is damaged ({error})") from None
    if width * height > megapixels * 1e6:
        raise Refused(413, f"{width}×{height} pixels exceed the limit of {megapixels} megapixels; save it smaller")
    try:
        return preprocess.pixels(content)
    except UserError as error:
        if isinstance(error.__context__, MemoryError):
            raise error.__context__ from None
        raise Refused(422, str(error).removeprefix("the image: ").partition("; replace")[0]) from None


def from_base64(text: str) -> bytes:
    """Return the content of base64 or of a data URI. Raise Refused (422) for another text."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Refused(422, "not base64") from None
