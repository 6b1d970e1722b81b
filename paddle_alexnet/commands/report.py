"""Write a run's report: one page, RUN/report.html, that any browser shows, without a network.

It is made at the end of a training too. Where the best model has not been tried on its validation images yet, that is
done first.
"""

import argparse

from paddle_alexnet.commands.options import add_device_option, typed_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=typed_path, metavar="RUN", help="the folder of a run")
    add_device_option(parser)


def run(arguments: argparse.Namespace) -> None:
    from paddle_alexnet.report.run_summary import read_run

    folder = read_run(arguments.run).folder
    from paddle_alexnet.report.run_report import report_run

    print(f"wrote {report_run(folder, device=arguments.device)}")
