"""`paddle-alexnet VERB …`: find the verb's file, run it, and turn what a user can cause into one line.

A verb's file has a docstring, `add_arguments(parser)` and `run(arguments)`; it imports what it needs when it runs,
so that help and errors do not wait for Paddle.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Optional

from paddle_alexnet.errors import UserError

VERBS = {
    "train": "train a network on a labelled image set",
    "evaluate": "mean loss and accuracy of a trained network on a split",
    "predict": "the classes of images",
    "export": "write the inference model of a run or checkpoint",
    "prepare-data": "sort labelled pictures into the splits of a new data set",
    "inspect-data": "look at a data set before training",
    "convert-weights": "read and write the weights of other frameworks",
    "summary": "what a network is made of, how two differ, how far a recipe is from 2012",
    "benchmark": "how fast a network computes, or images are loaded",
    "recipes": "list the recipes that come with the package",
}


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run a command line, without the program's name, and return its exit code.

    0 when done, 1 where the command found faults, 2 for what a user can mend, 130 when interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="paddle-alexnet",
        description="AlexNet in PaddlePaddle: train, trust, export and read it.",
        epilog="verbs:\n" + "\n".join(f"  {verb:<16} {text}" for verb, text in VERBS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("verb", choices=VERBS, metavar="VERB", help="one of those below; VERB --help tells more")
    verb = parser.parse_args(arguments[:1]).verb
    command = import_module(f"paddle_alexnet.commands.{verb.replace('-', '_')}")
    parser = argparse.ArgumentParser(
        prog=f"paddle-alexnet {verb}",
        description=command.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_arguments(parser)
    parsed = parser.parse_args(arguments[1:])
    _show_messages()
    try:
        return command.run(parsed) or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


class _ToStdout(logging.Handler):
    """What the package logs, as plain lines on whatever stdout is at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        print(record.getMessage(), flush=True)


def _show_messages() -> None:
    logger = logging.getLogger("paddle_alexnet")
    logger.setLevel(logging.INFO)
    if not any(isinstance(handler, _ToStdout) for handler in logger.handlers):
        logger.addHandler(_ToStdout())
