"""Check a data set before training: its contents, its faults, and a contact sheet of its images."""

import argparse

from paddle_alexnet.commands.options import add_excel_option, positive, typed_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "exit code: 0 without findings (warnings do not count), 1 with findings, 2 for an error"
    parser.add_argument("root", type=typed_path, metavar="ROOT", help="folder of images; only --fix writes to it")
    parser.add_argument(
        "--csv", type=typed_path, metavar="FILE", help="table (default: ROOT/labels.csv, else the class folders)"
    )
    parser.add_argument("--top-k", type=positive, metavar="K", help="K of the top-K accuracy that you will report")
    parser.add_argument(
        "--fix",
        action="store_true",
        help="write labels.cleaned.csv without the faulty rows beside the table, and a list of their images",
    )
    parser.add_argument(
        "--accept",
        action="append",
        default=[],
        metavar="KIND",
        help="ignore findings of a kind, such as imagenet-val: they are no faults, and --fix keeps their rows "
        "(of a conflict it keeps one label: the later split's, or the earlier line's)",
    )
    parser.add_argument(
        "--sheet",
        type=typed_path,
        default="contact-sheet.png",
        metavar="FILE.png",
        help="contact sheet to write (default: %(default)s)",
    )
    parser.add_argument(
        "--report", type=typed_path, metavar="FILE.csv", help="write every finding; at most 5 of a kind are printed"
    )
    add_excel_option(parser)
    parser.add_argument("--workers", type=positive, default=2, metavar="N", help="decoding threads (default: 2)")


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
