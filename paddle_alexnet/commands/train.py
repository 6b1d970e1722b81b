"""Train AlexNet on labeled images, and export it each time the validation loss improves."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from paddle_alexnet.commands.options import add_recipe_options, command_line, module_line, note, read_recipe, typed_path
from paddle_alexnet.config.choices import DEFAULT_RECIPE, DEMO_RECIPE
from paddle_alexnet.config.recipe import load_config
from paddle_alexnet.config.schema import Config, describe_keys
from paddle_alexnet.evaluation.classification import interval_text
from paddle_alexnet.network.presets import PRESETS
from paddle_alexnet.runs.run_folder import RunFolder, run_of
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.user_path import user_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        f"settings and their defaults (a recipe may set others):\n{describe_keys()}\n\npresets: {', '.join(PRESETS)}"
    )
    parser.add_argument(
        "data", nargs="?", type=typed_path, metavar="FOLDER", help="images to train on; the same as -o data.root=FOLDER"
    )
    add_recipe_options(parser, recipe=f"recipe, {DEMO_RECIPE} if there is no data set")
    parser.add_argument(
        "--resume",
        type=typed_path,
        metavar="RUN",
        help="resume a run with its own recipe, from its newest state, or from a checkpoint in the run; "
        "add -o train.epochs=N for more epochs",
    )


def run(arguments: argparse.Namespace) -> None:
    if arguments.data is not None:
        arguments.override.append(_root(arguments.data, arguments.override))
    demo = not (arguments.config or arguments.resume or _has_data(arguments.override))
    if demo:
        arguments.config = Path(DEMO_RECIPE)
    config = _recipe_of(arguments.resume, arguments) if arguments.resume else read_recipe(arguments)
    data = config.data
    from paddle_alexnet.data.table import check_there, find_root

    given, csv, classes = (user_path(text) if text else None for text in (data.root, data.csv, data.classes))
    root = find_root(given, csv)
    if root is not None:
        check_there(root, csv, classes)
    if config.model.weights:
        if root is None and not arguments.resume:
            raise UserError(
                f"model.weights={config.model.weights}: requires images to train on; add -o data.root=FOLDER"
            )
        from paddle_alexnet.runs.model_folder import find_model

        find_model(config.model.weights)
    if demo:
        note(
            f"recipe {DEMO_RECIPE}: a small network on drawn patterns; "
            f"for the full network add -c {DEFAULT_RECIPE}, for your own images name their folder"
        )
    from paddle_alexnet.training.distributed import rank
    from paddle_alexnet.training.trainer import train

    if rank():  # only the first of several processes prints; errors still go to stderr
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    started = time.time()
    try:
        results = train(config, resume=arguments.resume)
    except Exception:
        raise
    except BaseException:  # a signal
        state = RunFolder(config.output).last
        if arguments.resume or (state.is_dir() and state.stat().st_mtime >= started):
            print(f"to resume: {command_line('train', '--resume', config.output)}")
        raise
    best = results.best
    if best is None:
        print("no epoch had a finite validation loss; nothing was exported")
    else:
        print(f"trained on {best.data}")
        interval = f"of {results.val_images} images ({interval_text(best.val_top1, results.val_images)})"
        print(f"best val_loss {best.val_loss:.4f} in epoch {best.epoch}, top1 {best.val_top1:.4f} {interval}")
        print(f"inference model:  {results.output / 'inference'}")
        print(f"best checkpoint:  {results.output / 'checkpoints' / 'best'}")
    print(f"curves, metrics:  {results.output / 'curves.png'}, {results.output / 'metrics.csv'}")
    if config.train.report:
        print(f"report:           {results.output / 'report.html'}")
    if results.visualdl is not None:
        note(f"VisualDL:         {module_line('visualdl.server.app', '--logdir', results.visualdl)}")
    if best is not None:
        note(f"next: {command_line('evaluate', results.output)}")
        note(f"      {command_line('predict', results.output)} IMAGE")


def _root(data: Path, overrides: Sequence[str]) -> str:
    """Return the override `data.root=FOLDER`. Raise UserError if `data` is no folder of images, or named twice."""
    if any(override.startswith(("data.root=", "data.csv=")) for override in overrides):
        raise UserError(f"{data}: data.root or data.csv names images too; leave out one of them")
    if data.suffix in (".yaml", ".yml"):
        raise UserError(f"{data}: is a recipe, not a folder of images; use -c {data}")
    if data.suffix == ".csv":
        raise UserError(f"{data}: is a table, not a folder of images; use -o data.csv={data}")
    if RunFolder(data).config.is_file():
        raise UserError(f"{data}: is a run, not a folder of images; use --resume {data}")
    return f"data.root={data}"


def _has_data(overrides: Sequence[str]) -> bool:
    """Return whether an override names a data set, or the default folder `data` holds one."""
    from paddle_alexnet.data.table import find_root

    given = dict(override.split("=", 1) for override in overrides if "=" in override)
    named = any(given.get(key, "null") != "null" for key in ("data.root", "data.csv"))
    return named or find_root(None, None) is not None


def _recipe_of(resume: Path, arguments: argparse.Namespace) -> Config:
    """Return the config of the run that is resumed. Raise UserError for a setting that cannot change."""
    if arguments.config:
        raise UserError("--config: a resumed run has its own recipe; leave --config out")
    run = RunFolder(run_of(resume))
    if not run.config.is_file():
        raise UserError(f"{resume}: is not a run; name the folder that training wrote")
    for override in arguments.override:
        if override.startswith("output="):
            raise UserError(f"{override}: a resumed run keeps its folder; leave this override out")
    return load_config(run.config, [*arguments.override, f"output={run.path}"])
