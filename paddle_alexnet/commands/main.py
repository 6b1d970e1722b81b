"""`paddle-alexnet VERB …`: find the verb's file and run it.

A verb's file has a docstring, `add_arguments(parser)` and `run(arguments)`; it imports what it needs when it runs,
so that help and errors do not wait for Paddle.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any, NoReturn, Optional

from paddle_alexnet import __version__
from paddle_alexnet.commands.process import exit_code, hush
from paddle_alexnet.config.choices import one_of
from paddle_alexnet.system.errors import UserError

VERBS = {
    "train": "train a network on a labeled image set",
    "evaluate": "mean loss and accuracy of a trained network on a split",
    "predict": "the classes of images",
    "explain": "where a network looks, what its layers answer, which pictures are alike to it",
    "export": "write the inference model of a run or checkpoint",
    "serve": "a model over HTTP, with a page to try it",
    "prepare-data": "sort labeled pictures into the splits of a new data set",
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
    "completion": "print the completion script of a shell",
}


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run a command line, without the program's name, and return its exit code.

    0 when done, 1 where the command found faults, 2 for what a user can mend, 3 for an export that differs, 130 when
    interrupted, 143 when terminated, 141 where nobody reads its output any more.
    """
    return exit_code(lambda: _run(list(sys.argv[1:] if argv is None else argv)))


def _run(words: Sequence[str]) -> Optional[int]:
    at = next((n for n, word in enumerate(words) if not word.startswith("-")), len(words))
    whole = overview()
    whole.add_argument("verb", nargs="?", metavar="SUBCOMMAND", help="one of those below; help SUBCOMMAND explains it")
    try:
        own = whole.parse_args(words[: at + 1])
        verb, rest = own.verb, words[at + 1 :]
        if verb == "help":
            verb, rest = (rest[0] if rest else None), ["--help"]
        if verb is None:
            whole.print_help()
            return None
        parser = parser_of(one_of(verb, VERBS, what="subcommand"))
        arguments, others = parser.parse_known_args(rest)
        if others:
            _refuse(parser, arguments, rest, others)
    except SystemExit:  # the help or the version has been shown
        return None
    if vars(arguments).pop("quiet", own.quiet):
        hush()
    code: Optional[int] = _command(verb).run(arguments)
    return code


def overview() -> argparse.ArgumentParser:
    """Return the parser of the options before the subcommand, whose help lists the subcommands."""
    parser = _Parser(
        prog="paddle-alexnet",
        description="AlexNet in PaddlePaddle: train, trust, export and read it.",
        epilog="subcommands:\n" + "\n".join(f"  {verb:<16} {text}" for verb, text in VERBS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"paddle-alexnet {__version__}")
    add_quiet_option(parser, default=False)
    return parser


def parser_of(verb: str) -> argparse.ArgumentParser:
    """Return the parser of the words after a subcommand, which holds its help."""
    command = _command(verb)
    parser = _Parser(
        prog=f"paddle-alexnet {verb}",
        description=command.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_arguments(parser)
    for each in with_subparsers(parser):
        each.allow_abbrev = False  # --seed, as other programs call it, is not --seeds
        add_quiet_option(each, default=argparse.SUPPRESS)  # which one was given, before the subcommand or after it
    return parser


def with_subparsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield a parser and the ones that it is divided into."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from with_subparsers(each)


def add_quiet_option(parser: argparse.ArgumentParser, *, default: object) -> None:
    parser.add_argument(
        "-q",
        "--quiet",
        action="store_true",
        default=default,
        help="print results, warnings and errors only: no progress, no notes",
    )


def _refuse(
    parser: argparse.ArgumentParser, arguments: argparse.Namespace, words: Sequence[str], others: Sequence[str]
) -> NoReturn:
    """Raise UserError for options that a parser does not have, naming the settings that they mean if it takes any."""
    options = [word for word in others if word.startswith("-")]
    if options and hasattr(arguments, "override"):
        from paddle_alexnet.config.recipe import meant_overrides

        given = []
        for option in options:
            name, equals, value = option.partition("=")
            after = words[words.index(option) + 1 :]
            given.append((name, value if equals else after[0] if after and not after[0].startswith("-") else None))
        raise UserError(f"{' '.join(options)}: not an option of {parser.prog.split()[-1]}; {meant_overrides(given)}")
    parser.error(f"unrecognized arguments: {' '.join(others)}")


def _command(verb: str) -> Any:
    return import_module(f"paddle_alexnet.commands.{verb.replace('-', '_')}")


class _Parser(argparse.ArgumentParser):
    """Raises UserError for a command line that it cannot read."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see {self.prog} --help)")
