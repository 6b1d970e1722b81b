"""Print a script with which a shell completes subcommands, options, presets and files.

  bash  paddle-alexnet completion bash > ~/.local/share/bash-completion/completions/paddle-alexnet
  zsh   paddle-alexnet completion zsh > ~/.zfunc/_paddle-alexnet   (with ~/.zfunc in fpath)

Print the script again after an update of the package. Requires `pip install "paddle-alexnet[completion]"`.
"""

import argparse

from paddle_alexnet.commands.options import typed_path
from paddle_alexnet.system.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"), metavar="SHELL", help="bash, zsh or tcsh")


def run(arguments: argparse.Namespace) -> None:
    try:
        import shtab
    except ImportError:
        raise UserError('shtab: is not installed; run pip install "paddle-alexnet[completion]"') from None
    from paddle_alexnet.commands.main import SUBCOMMANDS, overview, parser_of, with_subparsers

    whole = overview()
    subcommands = whole.add_subparsers(metavar="SUBCOMMAND")
    for subcommand, text in SUBCOMMANDS.items():
        parser = parser_of(subcommand)
        subcommands.choices[subcommand] = parser  # type: ignore[index]
        subcommands._choices_actions.append(argparse.Action([], subcommand, help=text))  # as add_parser does
        for each in with_subparsers(parser):
            for action in each._actions:
                if action.type is typed_path:
                    action.complete = shtab.FILE  # type: ignore[attr-defined]
    print(shtab.complete(whole, arguments.shell))
