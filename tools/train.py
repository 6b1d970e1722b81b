"""Train AlexNet on a labelled image set; export it each time the validation loss improves."""

import argparse

from paddle_alexnet import cli, load_config, train
from paddle_alexnet.config import describe_keys


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"keys, with their defaults (a recipe may set others):\n{describe_keys()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    cli.add_recipe_options(parser, recipe="recipe")
    arguments = parser.parse_args()

    results = train(load_config(arguments.config, arguments.override))
    best = results.best
    if best is None:
        print("no epoch had a finite validation loss: nothing was exported")
    else:
        print(f"trained on {best.data}")
        print(f"best val_loss {best.val_loss:.4f} (top1 {best.val_top1:.4f}) in epoch {best.epoch}")
        print(f"inference model:  {results.output / 'inference'}")
        print(f"best checkpoint:  {results.output / 'checkpoints' / 'best'}")
    print(f"curves, metrics:  {results.output / 'curves.png'}, {results.output / 'metrics.csv'}")
    print(f"more to look at:  visualdl --logdir {results.output / 'visualdl'}")


if __name__ == "__main__":
    cli.run(main)
