"""Train AlexNet on a labelled image set; export it each time the validation loss improves."""

import argparse
import os
import sys
from pathlib import Path

from paddle_alexnet.commands.options import add_recipe_options, command_line, module_line, read_recipe
from paddle_alexnet.config import describe_keys
from paddle_alexnet.network.presets import PRESETS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        f"keys, with their defaults (a recipe may set others):\n{describe_keys()}\n\npresets: {', '.join(PRESETS)}"
    )
    add_recipe_options(parser, recipe="recipe")


def run(arguments: argparse.Namespace) -> None:
    config = read_recipe(arguments)
    data = config.data
    root, csv, classes = (Path(text) if text else None for text in (data.root, data.csv, data.classes))
    if root is None and csv is not None:
        root = csv.parent
    if root is not None:
        from paddle_alexnet.data.table import check_there

        check_there(root, csv, classes)
    if config.model.weights:
        from paddle_alexnet.runs.model_folder import find_model

        find_model(Path(config.model.weights))
    from paddle_alexnet.trainer import train
    from paddle_alexnet.training.distributed import rank

    if rank():  # of several processes the first alone speaks; errors go to stderr
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    results = train(config)
    best = results.best
    if best is None:
        print("no epoch had a finite validation loss: nothing was exported")
    else:
        print(f"trained on {best.data}")
        print(f"best val_loss {best.val_loss:.4f} (top1 {best.val_top1:.4f}) in epoch {best.epoch}")
        print(f"inference model:  {results.output / 'inference'}")
        print(f"best checkpoint:  {results.output / 'checkpoints' / 'best'}")
    print(f"curves, metrics:  {results.output / 'curves.png'}, {results.output / 'metrics.csv'}")
    if results.visualdl is not None:
        print(f"more to look at:  {module_line('visualdl.server.app', '--logdir', results.visualdl)}")
    if best is not None:
        print(f"next: {command_line('evaluate', results.output)}")
        print(f"      {command_line('predict', results.output)} IMAGE")
