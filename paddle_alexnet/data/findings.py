"""Findings about a data set: their kinds, their severity and their text."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from paddle_alexnet.system.files import write_csv

# Severity and title. Dropping the row fixes "drop"; a person must fix "fault"; "warning" is not a fault.
KINDS: dict[str, tuple[Literal["drop", "fault", "warning"], str]] = {
    "malformed": ("drop", "rows that are not complete"),
    "outside": ("drop", "paths that leave the data folder"),
    "missing": ("drop", "rows with no file"),
    "label": ("drop", "labels that are not in the class list"),
    "split": ("drop", "unknown splits"),
    "unreadable": ("drop", "unreadable images"),
    "truncated": ("drop", "truncated images"),
    "damaged": ("drop", "images with damaged data"),
    "size": ("drop", "images too large or too small to decode"),
    "tiny": ("drop", "images of a few pixels"),
    "flat": ("drop", "images of one color"),
    "repeated": ("drop", "files with several rows"),
    "leak": ("drop", "the same file content in two splits"),
    "near-leak": ("drop", "the same image in two splits"),
    "duplicate": ("drop", "the same file content twice in a split"),
    "conflict": ("drop", "the same image under two labels"),
    "unlisted": ("fault", "files in no row"),
    "gap": ("fault", "classes and splits without images"),
    "extension": ("fault", "names that do not match the content"),
    "cmyk": ("fault", "images in CMYK"),
    "palette": ("fault", "images with a palette"),
    "animated": ("fault", "images of several frames"),
    "top-k": ("fault", "top-k"),
    "imagenet-val": ("fault", "ImageNet's validation set in the train split"),
    "held-out": ("warning", "ImageNet's train set held out"),
    "left-out": ("warning", "files and folders that are left out or interpreted in an unusual way"),
    "link": ("warning", "symbolic links that leave the data folder"),
    "no-test": ("warning", "no test split"),
    "alpha": ("warning", "images with transparency, which is ignored unless data.background is set"),
    "16-bit": ("warning", "images with more than 8 bits per channel; training uses the upper 8"),
    "turned": ("warning", "images with an EXIF orientation; training applies it unless data.orientation=stored"),
}


class Finding(NamedTuple):
    """A fault or an oddity of a data set."""

    kind: str
    line: int  # of the CSV, where the row ends; 0 without a row; images of class folders count from -1 down
    file: str
    detail: str

    def __str__(self) -> str:
        where = f"line {self.line}" if self.line > 0 else ""
        return ": ".join(filter(None, (where, printable_name(self.file), self.detail)))


def row_in_words(line: int, filename: str) -> str:
    """Return a row's file name, after its CSV line if it has one."""
    return f"line {line}, {filename}" if line > 0 else filename


def printable_name(name: str) -> str:
    """Return a file's name, escaped if a terminal cannot print it."""
    return name if name.isprintable() else repr(name)[1:-1]


def severity(kind: str, accepted: Collection[str] = ()) -> str:
    """Return the severity of a kind from KINDS, or "accepted"."""
    return "accepted" if kind in accepted else KINDS[kind][0]


def faults(findings: Sequence[Finding], accepted: Collection[str] = ()) -> list[Finding]:
    """Return the findings that are neither warnings nor accepted."""
    return [finding for finding in findings if severity(finding.kind, accepted) in ("drop", "fault")]


def dropped_lines(findings: Sequence[Finding], accepted: Collection[str] = ()) -> set[int]:
    """Return the CSV lines of the rows to drop."""
    return {finding.line for finding in findings if severity(finding.kind, accepted) == "drop"}


def format_findings(findings: Sequence[Finding], accepted: Collection[str] = (), *, at_most: int) -> str:
    """Return the findings by kind as text, with counts and at most `at_most` findings per kind."""
    of_kind: dict[str, list[Finding]] = {kind: [] for kind in KINDS}
    for finding in findings:
        of_kind[finding.kind].append(finding)
    lines = []
    for kind, (_, title) in KINDS.items():
        found, weight = of_kind[kind], severity(kind, accepted)
        if found:
            note = {"warning": " (warning)", "accepted": " (accepted)"}.get(weight, "")
            lines.append(f"{kind}: {title}: {len(found)}{note}")
            lines += [f"  {finding}" for finding in found[:at_most]]
            if len(found) > at_most:
                lines.append(f"  (and {len(found) - at_most} more)")
    count = len(faults(findings, accepted))
    lines.append(f"{count or 'no'} finding{'' if count == 1 else 's'}")
    return "\n".join(lines)


def write_report(
    findings: Sequence[Finding], path: Path, accepted: Collection[str] = (), *, excel: bool = False
) -> None:
    """Write all findings as a CSV. Raises UserError if it cannot be written."""
    rows = [(f.kind, severity(f.kind, accepted), max(f.line, 0), printable_name(f.file), f.detail) for f in findings]
    write_csv(path, ("kind", "severity", "line", "file", "detail"), rows, excel=excel)
