"""`paddle-alexnet VERB …`: find the verb's file and run it.

A verb's file has a docstring, `add_arguments(parser)` and `run(arguments)`; it imports what it needs when it runs,
so that help and errors do not wait for Paddle.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn, Optional

from paddle_alexnet.commands.process import exit_code
from paddle_alexnet.errors import UserError
from paddle_alexnet.names import one_of

VERBS = {
    "train": "train a network on a labelled image set",
    "evaluate": "mean loss and accuracy of a trained network on a split",
    "predict": "the classes of images",
    "explain": "where a network looks, what its layers answer, which pictures are alike to it",
    "export": "write the inference model of a run or checkpoint",
    "serve": "a model over HTTP, with a page to try it",
    "prepare-data": "sort labelled pictures into the splits of a new data set",
    "inspect-data": "look at a data set before training",
    "convert-weights": "read and write the weights of other frameworks",
    "summary": "what a network is made of, how two differ, how far a recipe is from 2012",
    "benchmark": "how fast a network computes, or images are loaded",
    "build-kernels": "compile kernels for this machine, with which a CPU trains faster",
    "report": "one page about a run: curves, confusion matrix, mistakes, filters, settings",
    "compare": "several runs side by side, and the settings in which they differ",
    "ablate": "what LRN, overlapping pools, dropout and columns are worth, by training without each",
    "doctor": "what is installed on this machine, what is missing or clashes, and what mends it",
    "recipes": "list the recipes that come with the package",
}


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run a command line, without the program's name, and return its exit code.

    0 when done, 1 where the command found faults, 2 for what a user can mend, 3 for an export that differs, 130 when
    interrupted, 143 when terminated, 141 where nobody reads its output any more.
    """
    return exit_code(lambda: _run(list(sys.argv[1:] if argv is None else argv)))


def _run(words: Sequence[str]) -> Optional[int]:
    try:
        parser = _Parser(
            prog="paddle-alexnet",
            description="AlexNet in PaddlePaddle: train, trust, export and read it.",
            epilog="verbs:\n" + "\n".join(f"  {verb:<16} {text}" for verb, text in VERBS.items()),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.add_argument("verb", metavar="VERB", help="one of those below; VERB --help tells more")
        verb = one_of(parser.parse_args(words[:1]).verb, VERBS, what="verb")
        arguments = parser_of(verb).parse_args(words[1:])
    except SystemExit:  # the help has been shown
        return None
    code: Optional[int] = _command(verb).run(arguments)
    return code


def parser_of(verb: str) -> argparse.ArgumentParser:
    """What reads the words after a verb, and holds its help."""
    command = _command(verb)
    parser = _Parser(
        prog=f"paddle-alexnet {verb}",
        description=command.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_arguments(parser)
    return parser


def _command(verb: str) -> Any:
    return import_module(f"paddle_alexnet.commands.{verb.replace('-', '_')}")


class _Parser(argparse.ArgumentParser):
    """Raises UserError for a command line that it cannot read."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see {self.prog} --help)")
