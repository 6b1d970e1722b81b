"""Options that several verbs share, the types of arguments, and checks that need no Paddle."""

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
from paddle_alexnet.system.files import user_path

if TYPE_CHECKING:
    from paddle_alexnet.config.schema import Config
    from paddle_alexnet.data.preprocess import Preprocess

PREPROCESS_OPTIONS = ("geometry", "resize", "resample", "orientation", "mean", "std", "truncated", "background")


def add_recipe_options(parser: argparse.ArgumentParser, *, recipe: str, default: str = DEFAULT_RECIPE) -> None:
    """Add `-c RECIPE` and repeated `-o KEY=VALUE` for `read_recipe`; `recipe` says in the help whose it is."""
    parser.set_defaults(default_recipe=default)
    parser.add_argument(
        "-c",
        "--config",
        type=typed_path,
        metavar="RECIPE",
        help=f"{recipe}: a name that `paddle-alexnet recipes` lists, or a YAML file; default {default}",
    )
    parser.add_argument(
        "-o",
        "--override",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="set a key of the recipe, for example -o train.epochs=3; may be repeated",
    )


def read_recipe(arguments: argparse.Namespace, *overrides: str) -> "Config":
    """The recipe that `-c`, `-o` and further overrides give. Raises UserError for one that names no preset, too."""
    from paddle_alexnet.config.recipe import load_config

    default = getattr(arguments, "default_recipe", DEFAULT_RECIPE)
    config = load_config(arguments.config or Path(default), [*(arguments.override or ()), *overrides])
    one_of(config.model.preset, PRESETS, what="preset")
    return config


def command_line(verb: str, *words: object) -> str:
    """Return a command to show, called as this one was: by its name, or else as a module."""
    if Path(sys.argv[0]).name == "paddle-alexnet":
        return shlex.join([_shown(sys.argv[0]), verb, *map(str, words)])
    return module_line("paddle_alexnet", verb, *words)


def note(text: str) -> None:
    """Print a line that `--quiet` leaves out."""
    logging.getLogger("paddle_alexnet").info(text)


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


def add_excel_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--excel", action="store_true", help="begin CSV files with the mark by which Excel knows that they are UTF-8"
    )


def add_precision_options(parser: argparse.ArgumentParser) -> None:
    """Add `--precision` and `--calibration`, which `Predictor` takes."""
    parser.add_argument(
        "--precision",
        default="float32",
        choices=PRECISIONS,
        help="what an exported model computes with on a processor, default %(default)s; evaluate says what others cost",
    )
    parser.add_argument(
        "--calibration",
        type=typed_path,
        metavar="DIR",
        help="for int8: images that set its ranges, default some that the model was trained on",
    )


def add_crops_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--crops",
        type=int,
        default=1,
        choices=(1, 10),
        help="1: the center; 10: the paper's mean over corners, center and their mirror images; default %(default)s",
    )


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


def add_preprocess_options(parser: argparse.ArgumentParser, *, default: str) -> None:
    """Add what sets a model's input otherwise than `default`; `preprocess_changes` reads it."""
    group = parser.add_argument_group("input", f"what an image goes through, default {default}")
    group.add_argument(
        "--geometry",
        choices=("squash", "crop", "torchvision", "paddleclas"),
        help="the whole image, its central square, or that square in the pixels that torchvision or PaddleClas takes",
    )
    group.add_argument("--resize", type=positive, metavar="P", help="side of the patch whose center the network sees")
    group.add_argument(
        "--resample",
        choices=("nearest", "box", "bilinear", "bicubic", "lanczos", "opencv"),
        help="filter of resizing: Pillow's, or OpenCV's bilinear",
    )
    group.add_argument("--orientation", choices=("exif", "stored"), help="whether images are turned as EXIF says")
    group.add_argument("--mean", type=_three, metavar="R,G,B", help="subtracted, of values in 0..1")
    group.add_argument("--std", type=_three_positive, metavar="R,G,B", help="divided by, of values in 0..1")
    group.add_argument(
        "--truncated", choices=("error", "accept"), help="decode files that end too early as far as they go"
    )
    group.add_argument(
        "--background", type=_color, metavar="COLOR", help="color under transparent images, such as white"
    )


def preprocess_changes(arguments: argparse.Namespace) -> dict[str, Any]:
    """The fields of `Preprocess` that the options set."""
    given = {name: getattr(arguments, name) for name in PREPROCESS_OPTIONS}
    changes = {name: value for name, value in given.items() if value is not None}
    return {**changes, "mean_image": None} if "mean" in changes else changes


def changed_preprocess(preprocess: "Preprocess", arguments: argparse.Namespace) -> "Preprocess":
    """A model's preprocessing as the options set it. Raises UserError for a patch smaller than the network's input."""
    changed = replace(preprocess, **preprocess_changes(arguments))
    if changed.patch_size < changed.image_size:
        raise UserError(f"--resize {changed.resize}: the network sees {changed.image_size}×{changed.image_size} of it")
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
        raise argparse.ArgumentTypeError(f"{text} is for levels of 0..255: divide each by 255")
    return values


def _three_positive(text: str) -> tuple[float, ...]:
    values = _three(text)
    if min(values) <= 0:
        raise argparse.ArgumentTypeError(f"{text}: divides, and so must be above 0")
    return values


def positive(text: str) -> int:
    """A whole number of 1 or more, as the type of an argument."""
    return _whole(text, 1)


def not_negative(text: str) -> int:
    """A whole number of 0 or more, as the type of an argument."""
    return _whole(text, 0)


def above_zero(text: str) -> float:
    """A number above zero, as the type of an argument."""
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
