"""Options that several verbs share, the types of arguments, and checks that need no Paddle."""

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Optional

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


def command_line(verb: str, *words: str) -> str:
    """A command to show, called as this one was: by the script, by the module or by its name."""
    script = Path(sys.argv[0])
    if script.parent.name == "tools":
        program = f"python tools/{verb.replace('-', '_')}.py"
    else:
        program = f"{'python -m paddle_alexnet' if script.name == '__main__.py' else 'paddle-alexnet'} {verb}"
    return f"{program} {shlex.join(words)}"


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


def check_there(root: Path, csv: Optional[Path] = None, classes: Optional[Path] = None) -> None:
    """Raise UserError for what is not there of a data set, before anything is imported that reads it."""
    csv = root / "labels.csv" if csv is None else csv
    if not root.is_dir():
        raise UserError(f"{root}: no such folder of images; prepare-data makes one")
    if not csv.exists():
        raise UserError(f"{csv}: no such CSV; prepare-data makes one")
    if classes is not None and not classes.exists():
        raise UserError(f"{classes}: no such class list")
