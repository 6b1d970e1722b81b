"""Command-line options and argument types that subcommands share."""

import argparse
import logging
import math
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paddle_alexnet.config.choices import DEFAULT_RECIPE, PRECISIONS, check_color, one_of
from paddle_alexnet.network.presets import PRESETS
from paddle_alexnet.system.device import check_device
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.user_path import user_path

if TYPE_CHECKING:
    from paddle_alexnet.config.schema import Config
    from paddle_alexnet.data.preprocess import Preprocess

PREPROCESS_OPTIONS = ("geometry", "resize", "resample", "orientation", "mean", "std", "truncated", "background")


def add_recipe_options(parser: argparse.ArgumentParser, *, recipe: str, default: str = DEFAULT_RECIPE) -> None:
    """Add `-c RECIPE` and `-o KEY=VALUE` for `read_recipe`; `recipe` is the help text of `-c`."""
    parser.set_defaults(default_recipe=default)
    parser.add_argument(
        "-c",
        "--config",
        type=typed_path,
        metavar="RECIPE",
        help=f"{recipe}: a YAML file, or a name that `paddle-alexnet recipes` lists (default: {default})",
    )
    parser.add_argument(
        "-o",
        "--override",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a setting of the recipe, such as -o train.epochs=3; may be repeated",
    )


def read_recipe(arguments: argparse.Namespace, *overrides: str) -> "Config":
    """Return the config that `-c`, `-o` and further overrides give. Raise UserError for an unknown preset too."""
    from paddle_alexnet.config.recipe import load_config

    default = getattr(arguments, "default_recipe", DEFAULT_RECIPE)
    config = load_config(arguments.config or Path(default), [*(arguments.override or ()), *overrides])
    one_of(config.model.preset, PRESETS, what="preset")
    return config


def command_line(subcommand: str, *words: object) -> str:
    """Return a command to show, in the form of this one: `paddle-alexnet` or `python -m`."""
    if Path(sys.argv[0]).name == "paddle-alexnet":
        return shlex.join([_shown(sys.argv[0]), subcommand, *map(str, words)])
    return module_line("paddle_alexnet", subcommand, *words)


def note(text: str) -> None:
    """Print a line unless `--quiet` is set."""
    logging.getLogger("paddle_alexnet").info(text)


def module_line(module: str, *words: object) -> str:
    """Return a command to show that runs a module with this Python."""
    return shlex.join([_shown(sys.executable), "-m", module, *map(str, words)])


def _shown(program: str) -> str:
    """Return a program's bare name if it is on the PATH, else its path, relative if below the working folder."""
    path = Path(program).absolute()
    found = shutil.which(path.name)
    if found and Path(found).absolute() == path:
        return path.name
    return os.path.relpath(path) if Path.cwd() in path.parents else str(path)


def add_device_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", type=device, default="auto", help="auto, cpu or gpu:N (default: %(default)s)")


def add_excel_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--excel", action="store_true", help="write a byte order mark, with which Excel reads CSV files as UTF-8"
    )


def add_precision_options(parser: argparse.ArgumentParser) -> None:
    """Add `--precision` and `--calibration`, which `Predictor` takes."""
    parser.add_argument(
        "--precision",
        default="float32",
        choices=PRECISIONS,
        help="precision of an exported model on a CPU (default: %(default)s); `evaluate` measures the loss in accuracy",
    )
    parser.add_argument(
        "--calibration",
        type=typed_path,
        metavar="DIR",
        help="images to calibrate int8 ranges on (default: some of the training set)",
    )


def add_crops_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--crops",
        type=int,
        default=1,
        choices=(1, 10),
        help="1: the center; 10: the paper's mean over center, corners and their mirror images (default: %(default)s)",
    )


def typed_path(text: str) -> Path:
    """Return an argument's path, with `~` expanded."""
    try:
        return user_path(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def device(text: str) -> str:
    """Return an argument's device name."""
    try:
        return check_device(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def print_table(rows: Sequence[Sequence[object]]) -> None:
    """Print rows in aligned columns, numbers to the right."""
    cells = [list(map(str, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    for row in cells:
        aligned = [cell.rjust(width) if cell[:1].isdigit() else cell.ljust(width) for cell, width in zip(row, widths)]
        print("  ".join(aligned).rstrip())


def add_preprocess_options(parser: argparse.ArgumentParser, *, default: str) -> None:
    """Add the options of preprocessing, which `preprocess_changes` reads; `default` is for the help."""
    group = parser.add_argument_group("input", f"preprocessing of images (default: {default})")
    group.add_argument(
        "--geometry",
        choices=("squash", "crop", "torchvision", "paddleclas"),
        help="the whole image, its central square, or that square with the rounding of torchvision or PaddleClas",
    )
    group.add_argument("--resize", type=positive, metavar="P", help="size in pixels before the center crop")
    group.add_argument(
        "--resample",
        choices=("nearest", "box", "bilinear", "bicubic", "lanczos", "opencv"),
        help="filter of resizing: one of Pillow's, or OpenCV's bilinear",
    )
    group.add_argument("--orientation", choices=("exif", "stored"), help="apply or ignore the EXIF orientation")
    group.add_argument("--mean", type=_three, metavar="R,G,B", help="mean to subtract from values in 0..1")
    group.add_argument("--std", type=_three_positive, metavar="R,G,B", help="standard deviation, of values in 0..1")
    group.add_argument("--truncated", choices=("error", "accept"), help="refuse or decode files that end too early")
    group.add_argument("--background", type=_color, metavar="COLOR", help="color behind transparent pixels, as white")


def preprocess_changes(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of `Preprocess` that the options set."""
    given = {name: getattr(arguments, name) for name in PREPROCESS_OPTIONS}
    changes = {name: value for name, value in given.items() if value is not None}
    return {**changes, "mean_image": None} if "mean" in changes else changes


def changed_preprocess(preprocess: "Preprocess", arguments: argparse.Namespace) -> "Preprocess":
    """Return `preprocess` with the options applied. Raise UserError if it resizes below the network's input."""
    changed = replace(preprocess, **preprocess_changes(arguments))
    if changed.patch_size < changed.image_size:
        size = changed.image_size
        raise UserError(f"--resize {changed.resize}: smaller than the network's input; choose {size} or more")
    return changed


def _color(text: str) -> str:
    try:
        return check_color(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _three(text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.strip("[]() ").split(","))
    except ValueError:
        values = ()
    if len(values) != 3 or not all(map(math.isfinite, values)):
        raise argparse.ArgumentTypeError(f"{text} is not three numbers, as in 0.485,0.456,0.406")
    if max(map(abs, values)) > 1:
        raise argparse.ArgumentTypeError(f"{text} is for values in 0..255; divide each by 255")
    return values


def _three_positive(text: str) -> tuple[float, ...]:
    values = _three(text)
    if min(values) <= 0:
        raise argparse.ArgumentTypeError(f"{text}: each number must be above 0")
    return values


def positive(text: str) -> int:
    """Return an argument's whole number of 1 or more."""
    return _whole(text, 1)


def not_negative(text: str) -> int:
    """Return an argument's whole number of 0 or more."""
    return _whole(text, 0)


def above_zero(text: str) -> float:
    """Return an argument's number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def _whole(text: str, least: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 16 and int(text) >= least):
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of {least} or more")
    return int(text)
