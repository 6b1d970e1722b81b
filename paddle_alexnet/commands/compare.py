"""Compare runs: their best epochs, the settings in which they differ, and a page with their curves."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from paddle_alexnet.commands.options import typed_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", type=typed_path, nargs="+", metavar="RUN", help="the folders of two runs or more")
    parser.add_argument(
        "--output", type=typed_path, default=Path("compare.html"), help="the page to write, default %(default)s"
    )


def run(arguments: argparse.Namespace) -> None:
    from paddle_alexnet.report.comparison import compare_runs
    from paddle_alexnet.report.page import write_comparison

    comparison = compare_runs(arguments.runs)
    figures = [[name, *values] for name, values in zip(comparison.names, zip(*comparison.figures.values()))]
    _print_table([["run", *comparison.figures], *figures])
    print("\nsettings that differ" if comparison.differing else "\nno setting differs")
    if comparison.differing:
        rows = [[key, *values] for key, values in comparison.differing.items()]
        _print_table([["", *comparison.names], *rows])
    write_comparison(comparison, arguments.output)
    print(f"\nwrote {arguments.output}")


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
