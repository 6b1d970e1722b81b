"""Handling of Ctrl-C while the command line is being imported: one line and exit code 130, no traceback.

Import this module for its side effect. Another program that imports the package keeps its handler.
"""

import os
import signal
import sys
from typing import NoReturn


def _is_command_line() -> bool:
    script = sys.argv[0] if getattr(sys, "argv", None) else ""
    if script == "-m":  # while `python -m` looks for the module; Python 3.9 has no `orig_argv`
        words = getattr(sys, "orig_argv", [])
        return "-m" in words[:-1] and words[words.index("-m") + 1].partition(".")[0] == __name__.partition(".")[0]
    folder, name = os.path.split(os.path.abspath(script))
    checkout = os.path.abspath(os.path.join(__file__, "../../.."))
    return name in ("paddle-alexnet", "paddle-alexnet.exe") or folder == os.path.join(checkout, "tools")


def _end(number: int, frame: object) -> NoReturn:
    os.write(2, f"{os.linesep if os.isatty(2) else ''}interrupted{os.linesep}".encode())
    os._exit(130)


if _is_command_line() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _end)  # until the command sets its own
