"""List the recipes of the package, for `-c NAME`."""

import argparse

from paddle_alexnet.config.recipe import recipes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(arguments: argparse.Namespace) -> None:
    for name, path in recipes().items():
        first = path.read_text(encoding="utf-8").partition("\n")[0]
        print(f"{name:<12} {first.lstrip('# ')}")
