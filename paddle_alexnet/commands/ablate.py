"""Train a recipe with and without LRN, overlapping pooling, dropout and grouped convolution, with several seeds.

A stopped ablation resumes: finished runs in the recipe's output folder are not repeated.
"""

import argparse

from paddle_alexnet.commands.options import add_recipe_options, not_negative, print_table, read_recipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_recipe_options(parser, recipe="recipe")
    parser.add_argument(
        "--without",
        type=lambda text: text.split(","),
        metavar="PART,…",
        help="parts to remove, one at a time: lrn, overlap, dropout, columns (default: all that the network has)",
    )
    parser.add_argument(
        "--seeds", type=_numbers, default="0,1,2", metavar="N,…", help="seeds of the runs (default: %(default)s)"
    )


def run(arguments: argparse.Namespace) -> None:
    config = read_recipe(arguments)
    from paddle_alexnet.studies.ablation import COLUMNS, ablate, rows

    outcomes = ablate(config, parts=arguments.without, seeds=arguments.seeds)
    print_table([COLUMNS, *rows(outcomes)])
    print(f"wrote {config.output}/ablation.csv and {config.output}/ablation.png")


def _numbers(text: str) -> list[int]:
    return [not_negative(part) for part in text.split(",")]
