"""The `paddle-alexnet SUBCOMMAND …` command line.

The module of a subcommand has a docstring (its help), `add_arguments(parser)` and `run(arguments)`. It imports Paddle
inside `run`, because help and usage errors must not wait for Paddle.
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

SUBCOMMANDS = {
    "train": "train a network on labeled images",
    "evaluate": "measure the loss and accuracy of a model on a split",
    "predict": "classify images",
    "explain": "draw Grad-CAM, occlusion, filters, feature maps and nearest neighbors",
    "export": "export a run or checkpoint to Paddle Inference or ONNX",
    "serve": "serve a model over HTTP, with a web page",
    "prepare-data": "split labeled images into a new data set",
    "inspect-data": "check a data set before training",
    "convert-weights": "convert weights from and to other frameworks",
    "summary": "show layers and parameters; compare two presets; check a recipe against its source",
    "benchmark": "time a network, predictions or the data loader",
    "build-kernels": "compile CPU kernels for this machine, for faster training",
    "report": "write an HTML report of a run: curves, confusion matrix, mistakes, filters, settings",
    "compare": "compare runs and their settings in a table and an HTML page",
    "ablate": "measure LRN, overlapping pooling, dropout and grouped convolution by training without each",
    "doctor": "check this installation and show how to fix it",
    "recipes": "list the recipes of the package",
    "completion": "print a shell completion script",
}


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run a command line, by default this process's, and return its exit code.

    It is 0 for success, 1 if the command found faults, 2 for an error of usage or input, 3 for an export that differs
    from its network, 130 for an interrupt, 141 for a closed output pipe, 143 for a termination.
    """
    return exit_code(lambda: _run(list(sys.argv[1:] if argv is None else argv)))


def _run(words: Sequence[str]) -> Optional[int]:
    at = next((n for n, word in enumerate(words) if not word.startswith("-")), len(words))
    whole = overview()
    whole.add_argument(
        "subcommand", nargs="?", metavar="SUBCOMMAND", help="see below; 'help SUBCOMMAND' shows its options"
    )
    try:
        own = whole.parse_args(words[: at + 1])
        subcommand, rest = own.subcommand, words[at + 1 :]
        if subcommand == "help":
            subcommand, rest = (rest[0] if rest else None), ["--help"]
        if subcommand is None:
            whole.print_help()
            return None
        parser = parser_of(one_of(subcommand, SUBCOMMANDS, what="subcommand"))
        arguments, others = parser.parse_known_args(rest)
        if others:
            _refuse(parser, arguments, rest, others)
    except SystemExit:  # argparse has printed the help or the version
        return None
    if vars(arguments).pop("quiet", own.quiet):
        hush()
    code: Optional[int] = _command(subcommand).run(arguments)
    return code


def overview() -> argparse.ArgumentParser:
    """Return the parser of the options before the subcommand; its help lists the subcommands."""
    parser = _Parser(
        prog="paddle-alexnet",
        description="Train, evaluate, explain, export and serve AlexNet in PaddlePaddle.",
        epilog="subcommands:\n" + "\n".join(f"  {subcommand:<16} {text}" for subcommand, text in SUBCOMMANDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"paddle-alexnet {__version__}")
    add_quiet_option(parser, default=False)
    return parser


def parser_of(subcommand: str) -> argparse.ArgumentParser:
    """Return the parser of a subcommand's own options."""
    command = _command(subcommand)
    parser = _Parser(
        prog=f"paddle-alexnet {subcommand}",
        description=command.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_arguments(parser)
    for each in with_subparsers(parser):
        each.allow_abbrev = False  # else --seed would mean --seeds
        add_quiet_option(each, default=argparse.SUPPRESS)  # absent here must not undo -q before the subcommand
    return parser


def with_subparsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield a parser and all its subparsers."""
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
        help="print only results, warnings and errors",
    )


def _refuse(
    parser: argparse.ArgumentParser, arguments: argparse.Namespace, words: Sequence[str], others: Sequence[str]
) -> NoReturn:
    """Raise UserError for unknown options, and name the settings that they resemble if the parser has `-o`."""
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


def _command(subcommand: str) -> Any:
    return import_module(f"paddle_alexnet.commands.{subcommand.replace('-', '_')}")


class _Parser(argparse.ArgumentParser):
    """A parser that raises UserError instead of exiting."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see {self.prog} --help)")
