"""Write the report of a run, RUN/report.html: one file for any browser, online or offline.

Training writes it too. The best model is evaluated on the validation images first, unless that is done already.
"""

import argparse

from paddle_alexnet.commands.options import add_device_option, typed_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=typed_path, metavar="RUN", help="folder of a run")
    add_device_option(parser)


def run(arguments: argparse.Namespace) -> None:
    from paddle_alexnet.report.run_summary import read_run

    folder = read_run(arguments.run).folder
    from paddle_alexnet.report.run_report import report_run

    print(f"wrote {report_run(folder, device=arguments.device)}")
