"""What the doctor can say about a data set: the kinds of findings, and how one reads."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from paddle_alexnet.system.files import write_csv

# What follows from a kind: "drop" is a fault that is mended by dropping the row, "fault" is one that
# a person must mend, "remark" is worth knowing and no fault.
KINDS: dict[str, tuple[Literal["drop", "fault", "remark"], str]] = {
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
    "near-leak": ("drop", "the same picture in two splits"),
    "duplicate": ("drop", "the same file content twice in a split"),
    "conflict": ("drop", "the same picture under two labels"),
    "unlisted": ("fault", "files in no row"),
    "gap": ("fault", "classes and splits without images"),
    "extension": ("fault", "names that do not fit the content"),
    "cmyk": ("fault", "images in CMYK"),
    "palette": ("fault", "images with a palette"),
    "animated": ("fault", "images of several frames"),
    "top-k": ("fault", "top-k"),
    "imagenet-val": ("fault", "ImageNet's validation set in the train split"),
    "held-out": ("remark", "ImageNet's train set held out"),
    "left-out": ("remark", "files and folders that are left out, or taken otherwise than usual"),
    "link": ("remark", "symbolic links that leave the data folder"),
    "no-test": ("remark", "no test split"),
    "alpha": ("remark", "images with transparency, which is ignored unless data.background is set"),
    "16-bit": ("remark", "images with more than 8 bits a channel, of which training takes the upper 8"),
    "turned": ("remark", "images that EXIF asks to turn: training turns them, unless data.orientation is stored"),
}


class Finding(NamedTuple):
    """What is wrong or odd.

    `line` is that of the CSV on which its row ends, 0 where it is about no row; the images of class folders, which have
    no CSV, are counted from -1 down.
    """

    kind: str
    line: int
    file: str
    detail: str

    def __str__(self) -> str:
        where = f"line {self.line}" if self.line > 0 else ""
        return ": ".join(filter(None, (where, shown(self.file), self.detail)))


def row_in_words(line: int, filename: str) -> str:
    """A row by its line of the CSV, if it has one, and its file."""
    return f"line {line}, {filename}" if line > 0 else filename


def shown(name: str) -> str:
    """A file's name on one line of any terminal."""
    return name if name.isprintable() else repr(name)[1:-1]


def severity(kind: str, accepted: Collection[str] = ()) -> str:
    """What follows from a kind: that of KINDS, or "accepted" for one that somebody has looked at and lives with."""
    return "accepted" if kind in accepted else KINDS[kind][0]


def faults(findings: Sequence[Finding], accepted: Collection[str] = ()) -> list[Finding]:
    """The findings that are more than a remark and are not accepted."""
    return [finding for finding in findings if severity(finding.kind, accepted) in ("drop", "fault")]


def dropped_lines(findings: Sequence[Finding], accepted: Collection[str] = ()) -> set[int]:
    """The lines of the CSV whose rows are to be dropped."""
    return {finding.line for finding in findings if severity(finding.kind, accepted) == "drop"}


def format_findings(findings: Sequence[Finding], accepted: Collection[str] = (), *, at_most: int) -> str:
    """The findings by kind, with counts and no more than `at_most` of a kind."""
    of_kind: dict[str, list[Finding]] = {kind: [] for kind in KINDS}
    for finding in findings:
        of_kind[finding.kind].append(finding)
    lines = []
    for kind, (_, title) in KINDS.items():
        found, weight = of_kind[kind], severity(kind, accepted)
        if found:
            note = {"remark": " (a remark)", "accepted": " (accepted)"}.get(weight, "")
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
    """Every finding as a CSV. Raises UserError if it cannot be written."""
    rows = [(f.kind, severity(f.kind, accepted), max(f.line, 0), shown(f.file), f.detail) for f in findings]
    write_csv(path, ("kind", "severity", "line", "file", "detail"), rows, excel=excel)
