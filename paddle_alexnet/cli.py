"""What every command under tools/ shares: errors in one line, exit codes, progress."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Callable, Optional, TypeVar

import pandas as pd
from tqdm import tqdm

from paddle_alexnet.errors import UserError

Item = TypeVar("Item")

DEFAULT_RECIPE = Path(__file__).resolve().parents[1] / "configs" / "paddle2.yaml"


def run(main: Callable[[], Optional[int]]) -> None:
    """Run a tool and exit: 0 when done, 2 for a user's error, 130 when interrupted."""
    try:
        sys.exit(main())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def progress(items: Iterable[Item], *, what: str, total: int) -> Iterator[Item]:
    """Yield the items behind a progress bar; four plain lines when stderr is no terminal."""
    if sys.stderr.isatty():
        yield from tqdm(items, desc=what, total=total, unit="image", leave=False)
        return
    step = max(1, -(-total // 4))
    for done, item in enumerate(items, start=1):
        yield item
        if done % step == 0 or done == total:
            print(f"{what}: {done}/{total}", file=sys.stderr)


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table and say where. Raises UserError if it cannot be written."""
    try:
        table.to_csv(path, index=False)
    except OSError as error:
        raise UserError(f"{path}: cannot write the table ({error})") from None
    print(f"wrote {path}")


def add_recipe_options(parser: argparse.ArgumentParser, *, recipe: str) -> None:
    """Add `-c FILE`, with the default recipe, and repeated `-o KEY=VALUE`; `recipe` says in the help whose it is."""
    parser.add_argument("-c", "--config", type=Path, default=DEFAULT_RECIPE, help=f"{recipe}, default %(default)s")
    parser.add_argument(
        "-o",
        "--override",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="set a key of the recipe, for example -o train.epochs=3; may be repeated",
    )


def positive(text: str) -> int:
    """A whole number of 1 or more, as the type of an argument."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of 1 or more")
    return int(text)
