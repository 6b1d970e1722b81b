"""Check this installation: packages, devices and conflicts, each with a command that fixes it."""

import argparse
import json

from paddle_alexnet.system.installation import examine, format_checks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "exit code: 0 without faults (notes do not count), 1 with faults"
    parser.add_argument("--deep", action="store_true", help="import Paddle and compute on the CPU and a GPU")
    parser.add_argument("--json", action="store_true", help="print the checks as JSON: state, detail, remedy")


def run(arguments: argparse.Namespace) -> int:
    checks = examine(deep=arguments.deep)
    if arguments.json:
        print(json.dumps([check._asdict() for check in checks], indent=2, ensure_ascii=False))
    else:
        print(format_checks(checks))
    return 1 if any(check.state == "fault" for check in checks) else 0
