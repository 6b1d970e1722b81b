"""What is installed on this machine, what is missing or clashes, and the command that mends it."""

import argparse
import json

from paddle_alexnet.system.installation import examine, format_checks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "exit code: 0 if nothing is wrong, 1 with faults (notes do not count)"
    parser.add_argument("--deep", action="store_true", help="import Paddle too, and compute on the CPU and on a GPU")
    parser.add_argument("--json", action="store_true", help="print the checks as JSON: state, detail, remedy")


def run(arguments: argparse.Namespace) -> int:
    checks = examine(deep=arguments.deep)
    if arguments.json:
        print(json.dumps([check._asdict() for check in checks], indent=2, ensure_ascii=False))
    else:
        print(format_checks(checks))
    return 1 if any(check.state == "fault" for check in checks) else 0
