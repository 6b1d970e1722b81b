"""Train a recipe as it is and without LRN, overlapping pools, dropout and columns, over several seeds.

Runs that are finished in the recipe's output are taken as they are, so that an ablation which was stopped goes on.
"""

import argparse

from paddle_alexnet.commands.options import add_recipe_options, not_negative, print_table, read_recipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_recipe_options(parser, recipe="recipe")
    parser.add_argument(
        "--without",
        type=lambda text: text.split(","),
        metavar="PART,…",
        help="the parts to take away, each by itself: lrn, overlap, dropout, columns; default all that the network has",
    )
    parser.add_argument(
        "--seeds", type=_numbers, default="0,1,2", metavar="N,…", help="of the runs, default %(default)s"
    )


def run(arguments: argparse.Namespace) -> None:
    config = read_recipe(arguments)
    from paddle_alexnet.studies.ablation import COLUMNS, ablate, rows

    outcomes = ablate(config, parts=arguments.without, seeds=arguments.seeds)
    print_table([COLUMNS, *rows(outcomes)])
    print(f"wrote {config.output}/ablation.csv and {config.output}/ablation.png")


def _numbers(text: str) -> list[int]:
    return [not_negative(part) for part in text.split(",")]
