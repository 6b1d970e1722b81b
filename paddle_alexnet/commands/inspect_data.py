"""Look at a data set before training: what is in it, what is wrong with it, a sheet of its pictures."""

import argparse
from pathlib import Path

from paddle_alexnet.commands.options import add_excel_option, positive, typed_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "exit code: 0 if nothing is wrong, 1 with findings (warnings do not count), 2 for an error"
    parser.add_argument("root", type=typed_path, metavar="ROOT", help="folder of images; --fix alone writes there")
    parser.add_argument(
        "--csv", type=typed_path, metavar="FILE", help="its table (default: labels.csv in ROOT, else its class folders)"
    )
    parser.add_argument("--top-k", type=positive, metavar="K", help="top-k accuracy that you will report")
    parser.add_argument(
        "--fix",
        action="store_true",
        help="write labels.cleaned.csv beside the table, without its bad rows, and a list of their images",
    )
    parser.add_argument(
        "--accept",
        action="append",
        default=[],
        metavar="KIND",
        help="live with findings of a kind, such as imagenet-val: no fault, and --fix drops none of its rows "
        "(with conflict it keeps one label of two: that of the later split or the earlier line)",
    )
    parser.add_argument(
        "--sheet",
        type=typed_path,
        default=Path("contact-sheet.png"),
        metavar="FILE.png",
        help="pictures (default: %(default)s)",
    )
    parser.add_argument(
        "--report", type=typed_path, metavar="FILE.csv", help="every finding; on screen are 5 of a kind"
    )
    add_excel_option(parser)
    parser.add_argument("--workers", type=positive, default=2, metavar="N", help="threads that decode (default: 2)")


def run(arguments: argparse.Namespace) -> int:
    from paddle_alexnet.data.table import check_there

    csv = check_there(arguments.root, arguments.csv)
    from paddle_alexnet.data.findings import faults, format_findings, write_report
    from paddle_alexnet.datasets.inspect.contact_sheet import draw_sheet
    from paddle_alexnet.datasets.inspect.inspection import check_outputs, fix, format_inspection, inspect
    from paddle_alexnet.system.progress import working

    check_outputs(root=arguments.root, csv=csv, sheet=arguments.sheet, report=arguments.report, fixing=arguments.fix)
    inspection = inspect(arguments.root, csv, top_k=arguments.top_k, workers=arguments.workers, accept=arguments.accept)
    findings, accepted = inspection.findings, inspection.accepted
    print(format_inspection(inspection), format_findings(findings, accepted, at_most=5), sep="\n\n", end="\n\n")
    with working("drawing the contact sheet"):
        sheet = draw_sheet(inspection, arguments.sheet)
    print(sheet)
    if arguments.report:
        write_report(findings, arguments.report, accepted, excel=arguments.excel)
        print(f"wrote {arguments.report}")
    if arguments.fix:
        print(fix(inspection))
    return 1 if faults(findings, accepted) else 0
