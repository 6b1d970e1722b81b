"""Train AlexNet on a labelled image set; export it each time the validation loss improves."""

import argparse

from paddle_alexnet.commands.options import add_recipe_options
from paddle_alexnet.commands.typed import typed, typed_module
from paddle_alexnet.config import describe_keys, load_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = f"keys, with their defaults (a recipe may set others):\n{describe_keys()}"
    add_recipe_options(parser, recipe="recipe")


def run(arguments: argparse.Namespace) -> None:
    config = load_config(arguments.config, arguments.override)
    from paddle_alexnet.trainer import train

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
        print(f"more to look at:  {typed_module('visualdl.server.app', '--logdir', results.visualdl)}")
    if best is not None:
        print(f"next: {typed('evaluate', results.output)}")
        print(f"      {typed('predict', results.output)} IMAGE")
