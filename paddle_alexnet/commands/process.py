"""What the process of a command does apart from its job: its exit code, signals, and an output that cannot take it."""

import logging
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import Callable, NoReturn, Optional

from paddle_alexnet.system.errors import UserError

DONE, MENDABLE = 0, 2
INTERRUPTED, BROKEN_PIPE, TERMINATED = (128 + number for number in (2, 13, 15))  # as a shell counts signals


def exit_code(job: Callable[[], Optional[int]]) -> int:
    """Run a job and return its exit code: its own, or that of how it ended, with a line on stderr that says so."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a question mark for what the encoding lacks
    _show_messages()
    try:
        with _signals(), _plain_warnings():
            code = job() or DONE
            sys.stdout.flush()
            return code
    except UserError as error:
        _say(f"error: {error}")
        return MENDABLE
    except KeyboardInterrupt:
        _say("interrupted", fresh_line=True)
        return INTERRUPTED
    except _Terminated:
        _say("terminated", fresh_line=True)
        return TERMINATED
    except BrokenPipeError:  # whoever read the output, such as `head`, has read enough
        with open(os.devnull, "w") as devnull, suppress(OSError):
            os.dup2(devnull.fileno(), sys.stdout.fileno())  # so that Python's own flush at the end does not fail, too
        return BROKEN_PIPE


class _Terminated(BaseException):
    """SIGTERM has come. As an exception, so that what is half done is cleared away."""


@contextmanager
def _signals() -> Iterator[None]:
    """Turn SIGINT and SIGTERM into exceptions; while a module is imported, end the process with a line instead.

    An exception in the middle of an import may be swallowed there, or leave half a module behind.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return

    def interrupt(number: int, frame: Optional[FrameType]) -> NoReturn:
        if _importing(frame):
            _end("interrupted", INTERRUPTED)
        raise KeyboardInterrupt

    def terminate(number: int, frame: Optional[FrameType]) -> NoReturn:
        if _importing(frame):
            _end("terminated", TERMINATED)
        raise _Terminated

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    if before[signal.SIGINT] != signal.SIG_IGN:  # as `nohup` and a shell's background jobs have it
        signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _importing(frame: Optional[FrameType]) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _end(text: str, code: int) -> NoReturn:
    with suppress(Exception):  # such as a print that was interrupted
        sys.stdout.flush()
    os.write(2, f"{os.linesep if os.isatty(2) else ''}{text}{os.linesep}".encode())  # sys.stderr may be redirected
    os._exit(code)


def _say(text: str, *, fresh_line: bool = False) -> None:
    """Print one line on stderr, below what may stand in a terminal's last line if it must be a fresh one."""
    line = re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", text)
    print("\n" * (fresh_line and sys.stderr.isatty()) + line, file=sys.stderr)


class _PlainLines(logging.Handler):
    """What the package logs, as plain lines above a bar: on whatever stdout is at the time, warnings on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        stream = sys.stderr if record.levelno >= logging.WARNING else sys.stdout
        if "tqdm" in sys.modules:
            sys.modules["tqdm"].tqdm.write(record.getMessage(), file=stream)
        else:
            print(record.getMessage(), file=stream)
        stream.flush()


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Show the warnings of libraries as one line each, without lines of source, and none of Pillow's.

    Pillow warns of what an image holds besides its pixels, such as damaged EXIF data, and does not name the file;
    `data.decode_limit` bounds large images.
    """

    def show(message: object, category: type, filename: str, *_: object, **__: object) -> None:
        if "PIL" not in Path(filename).parts and not category.__module__.startswith("PIL."):
            logging.getLogger("paddle_alexnet").warning(f"warning: {' '.join(str(message).split())}")

    before, warnings.showwarning = warnings.showwarning, show  # type: ignore[assignment]
    try:
        yield
    finally:
        warnings.showwarning = before


def hush() -> None:
    """Show no progress and no notes in this process, as `--quiet` asks."""
    logging.getLogger("paddle_alexnet").setLevel(logging.WARNING)


def _show_messages() -> None:
    logger = logging.getLogger("paddle_alexnet")
    logger.setLevel(logging.INFO)
    if not any(isinstance(handler, _PlainLines) for handler in logger.handlers):
        logger.addHandler(_PlainLines())
