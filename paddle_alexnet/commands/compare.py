"""Compare runs: their best epochs and different settings in a table, and their curves on an HTML page."""

import argparse

from paddle_alexnet.commands.options import print_table, typed_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", type=typed_path, nargs="+", metavar="RUN", help="folders of two or more runs")
    parser.add_argument(
        "--output", type=typed_path, default="compare.html", help="page to write (default: %(default)s)"
    )


def run(arguments: argparse.Namespace) -> None:
    from paddle_alexnet.report.comparison import compare_runs
    from paddle_alexnet.report.html_page import write_comparison
    from paddle_alexnet.runs.run_folder import RunFolder
    from paddle_alexnet.system.output_files import check_output
    from paddle_alexnet.system.progress import working

    check_output(arguments.output, "HTML", inputs=[file for run in arguments.runs for file in RunFolder(run).files()])
    comparison = compare_runs(arguments.runs)
    figures = [[name, *values] for name, values in zip(comparison.names, zip(*comparison.figures.values()))]
    print_table([["run", *comparison.figures], *figures])
    for n in comparison.best:
        data_set = f" on data set {comparison.data_sets[n]}" if comparison.warning else ""
        print(f"lowest val loss{data_set}: {comparison.names[n]}")
    if comparison.warning:
        print(f"warning: {comparison.warning}")
    print("\ndifferent settings" if comparison.differing else "\nno different settings")
    if comparison.differing:
        rows = [[key, *values] for key, values in comparison.differing.items()]
        print_table([["", *comparison.names], *rows])
    with working("drawing the page"):
        write_comparison(comparison, arguments.output)
    print(f"\nwrote {arguments.output}")
