"""Options that several verbs share."""

import argparse
from pathlib import Path

from paddle_alexnet.config import DEFAULT_RECIPE


def add_recipe_options(parser: argparse.ArgumentParser, *, recipe: str) -> None:
    """Add `-c RECIPE`, with the default recipe, and repeated `-o KEY=VALUE`; `recipe` says in the help whose it is."""
    parser.add_argument(
        "-c",
        "--config",
        type=Path,
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


def add_device_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto, cpu or gpu:N, default %(default)s")


def positive(text: str) -> int:
    """A whole number of 1 or more, as the type of an argument."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of 1 or more")
    return int(text)
