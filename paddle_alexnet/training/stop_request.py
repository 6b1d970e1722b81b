"""Ctrl-C and SIGTERM while a run trains: remembered until the step is done and saved."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Optional


class StopRequest:
    """Which signal has asked the run to stop, None as long as none has."""

    def __init__(self) -> None:
        self.signal: Optional[int] = None
        self._handlers: dict[int, Any] = {}

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Take down the first signal instead of obeying it; obey the second at once.

        Only the main thread can do so: elsewhere signals do what they always do.
        """
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is not signal.SIG_IGN:  # as `nohup` and a shell's background jobs have it
                    self._handlers[number] = signal.signal(number, self._note)
        try:
            yield
        finally:
            self.release()

    def obey(self) -> None:
        """Let a signal that has come do what it would have done then, such as raise KeyboardInterrupt."""
        if self.signal is not None:
            self.release()
            signal.raise_signal(self.signal)

    def _note(self, number: int, frame: Optional[FrameType]) -> None:
        again, self.signal = self.signal is not None, number
        if again:
            self.obey()

    def release(self) -> None:
        """Let signals do again what they did before."""
        while self._handlers:
            signal.signal(*self._handlers.popitem())
