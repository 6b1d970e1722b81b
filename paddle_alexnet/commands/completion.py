"""Print the script with which a shell completes subcommands, options, presets and files.

  bash  paddle-alexnet completion bash > ~/.local/share/bash-completion/completions/paddle-alexnet
  zsh   paddle-alexnet completion zsh > ~/.zfunc/_paddle-alexnet   (with ~/.zfunc in fpath)

The script is made once, so that completing starts no Python. Requires `pip install "paddle-alexnet[completion]"`.
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
        raise UserError('shtab is not installed: pip install "paddle-alexnet[completion]"') from None
    from paddle_alexnet.commands.main import VERBS, overview, parser_of, with_subparsers

    whole = overview()
    verbs = whole.add_subparsers(metavar="SUBCOMMAND")
    for verb, text in VERBS.items():
        parser = parser_of(verb)
        verbs.choices[verb] = parser  # type: ignore[index]
        verbs._choices_actions.append(argparse.Action([], verb, help=text))  # as add_parser does
        for each in with_subparsers(parser):
            for action in each._actions:
                if action.type is typed_path:
                    action.complete = shtab.FILE  # type: ignore[attr-defined]
    print(shtab.complete(whole, arguments.shell))
