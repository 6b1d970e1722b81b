"""Exit codes, signals, log lines and warnings of a command's process."""

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

SUCCESS, USER_ERROR = 0, 2
INTERRUPTED, BROKEN_PIPE, TERMINATED = (128 + number for number in (2, 13, 15))  # as a shell reports signals


def exit_code(job: Callable[[], Optional[int]]) -> int:
    """Run a job and return its exit code; report an error, an interrupt or a termination in one line on stderr."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # prints ? for characters outside the encoding
    _show_messages()
    try:
        with _signals(), _plain_warnings():
            code = job() or SUCCESS
            sys.stdout.flush()
            return code
    except UserError as error:
        _say(f"error: {error}")
        return USER_ERROR
    except KeyboardInterrupt:
        _say("interrupted", fresh_line=True)
        return INTERRUPTED
    except _Terminated:
        _say("terminated", fresh_line=True)
        return TERMINATED
    except BrokenPipeError:  # the reader of the output, such as `head`, has closed it
        with open(os.devnull, "w") as devnull, suppress(OSError):
            os.dup2(devnull.fileno(), sys.stdout.fileno())  # else Python's flush at exit fails too
        return BROKEN_PIPE


class _Terminated(BaseException):
    """A SIGTERM, raised as an exception so that context managers clean up."""


@contextmanager
def _signals() -> Iterator[None]:
    """Turn SIGINT and SIGTERM into exceptions; during an import, exit with a line instead.

    An import may swallow an exception, or leave a module half loaded.
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
    if before[signal.SIGINT] != signal.SIG_IGN:  # ignored under `nohup` and in background jobs
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
    with suppress(Exception):  # the interrupted print may hold the stream
        sys.stdout.flush()
    os.write(2, f"{os.linesep if os.isatty(2) else ''}{text}{os.linesep}".encode())  # sys.stderr may be redirected
    os._exit(code)


def _say(text: str, *, fresh_line: bool = False) -> None:
    """Print one line on stderr; `fresh_line` starts it below a progress bar."""
    line = re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", text)
    print("\n" * (fresh_line and sys.stderr.isatty()) + line, file=sys.stderr)


class _PlainLines(logging.Handler):
    """A log handler that prints plain lines above a progress bar: warnings on stderr, the rest on stdout."""

    def emit(self, record: logging.LogRecord) -> None:
        is_warning = record.levelno >= logging.WARNING
        line, stream = ("warning: " * is_warning) + record.getMessage(), sys.stderr if is_warning else sys.stdout
        if "tqdm" in sys.modules:
            sys.modules["tqdm"].tqdm.write(line, file=stream)
        else:
            print(line, file=stream)
        stream.flush()


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Show warnings of libraries as one line each, without source lines, and drop Pillow's.

    Pillow warns about metadata, such as damaged EXIF data, without the file's name. `data.decode_limit` bounds large
    images.
    """

    def show(message: object, category: type, filename: str, *_: object, **__: object) -> None:
        if "PIL" not in Path(filename).parts and not category.__module__.startswith("PIL."):
            logging.getLogger("paddle_alexnet").warning(" ".join(str(message).split()))

    before, warnings.showwarning = warnings.showwarning, show  # type: ignore[assignment]
    try:
        yield
    finally:
        warnings.showwarning = before


def hush() -> None:
    """Show no progress and no notes in this process (`--quiet`)."""
    logging.getLogger("paddle_alexnet").setLevel(logging.WARNING)


def _show_messages() -> None:
    logger = logging.getLogger("paddle_alexnet")
    logger.setLevel(logging.INFO)
    if not any(isinstance(handler, _PlainLines) for handler in logger.handlers):
        logger.addHandler(_PlainLines())
