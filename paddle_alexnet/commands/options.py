"""Options that several verbs share, the types of arguments, and checks that need no Paddle."""

import argparse
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from paddle_alexnet.device import check_device
from paddle_alexnet.errors import UserError
from paddle_alexnet.files import user_path
from paddle_alexnet.names import one_of
from paddle_alexnet.network.presets import PRESETS

if TYPE_CHECKING:
    from paddle_alexnet.config import Config


def add_recipe_options(parser: argparse.ArgumentParser, *, recipe: str) -> None:
    """Add `-c RECIPE`, with the default recipe, and repeated `-o KEY=VALUE`; `recipe` says in the help whose it is."""
    from paddle_alexnet.config import DEFAULT_RECIPE

    parser.add_argument(
        "-c",
        "--config",
        type=typed_path,
        default=Path(DEFAULT_RECIPE),
        metavar="RECIPE",
        help=f"{recipe}: a name that `paddle-alexnet recipes` lists, or a YAML file; default %(default)s",
    )
    parser.add_argument(
        "-o",
        "--override",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="set a key of the recipe, for example -o train.epochs=3; may be repeated",
    )


def read_recipe(arguments: argparse.Namespace) -> "Config":
    """The recipe that `-c` and `-o` give. Raises UserError for one that names no preset, too."""
    from paddle_alexnet.config import load_config

    config = load_config(arguments.config, arguments.override)
    one_of(config.model.preset, PRESETS, what="preset")
    return config


def command_line(verb: str, *words: object) -> str:
    """A command to show, called as this one was: by a script of `tools/`, by its name or as a module."""
    script = Path(sys.argv[0])
    if script.suffix == ".py" and script.parent.name == "tools":
        program = [_shown(sys.executable), str(script.with_name(f"{verb.replace('-', '_')}.py"))]
    elif script.name == "paddle-alexnet":
        program = [_shown(sys.argv[0]), verb]
    else:
        return module_line("paddle_alexnet", verb, *words)
    return shlex.join([*program, *map(str, words)])


def module_line(module: str, *words: object) -> str:
    """A command to show that runs a module with the Python that runs this one."""
    return shlex.join([_shown(sys.executable), "-m", module, *map(str, words)])


def _shown(program: str) -> str:
    """A program's bare name where a shell finds it by that, else its path, from here where it lies below."""
    path = Path(program).absolute()
    found = shutil.which(path.name)
    if found and Path(found).absolute() == path:
        return path.name
    return os.path.relpath(path) if Path.cwd() in path.parents else str(path)


def add_device_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", type=device, default="auto", help="auto, cpu or gpu:N, default %(default)s")


def typed_path(text: str) -> Path:
    """A path as the type of an argument; `~` is the home folder, where no shell has replaced it."""
    try:
        return user_path(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def device(text: str) -> str:
    """A device as the type of an argument."""
    try:
        return check_device(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def print_table(rows: Sequence[Sequence[object]]) -> None:
    """Print rows of cells in columns, numbers to the right."""
    cells = [list(map(str, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    for row in cells:
        aligned = [cell.rjust(width) if cell[:1].isdigit() else cell.ljust(width) for cell, width in zip(row, widths)]
        print("  ".join(aligned).rstrip())


def positive(text: str) -> int:
    """A whole number of 1 or more, as the type of an argument."""
    return _whole(text, 1)


def not_negative(text: str) -> int:
    """A whole number of 0 or more, as the type of an argument."""
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 16 and int(text) >= least):
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of {least} or more")
    return int(text)
