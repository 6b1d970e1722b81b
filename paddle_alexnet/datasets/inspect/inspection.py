"""Inspection of a data set: counts, colors and findings of every row and image."""

import csv as table
import logging
import os
import posixpath
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np
import pandas as pd

from paddle_alexnet.config.choices import one_of
from paddle_alexnet.data.classes import ClassList
from paddle_alexnet.data.findings import KINDS, Finding, dropped_lines, severity
from paddle_alexnet.data.splits import SPLITS
from paddle_alexnet.data.table import check_rows, cleaned_csv, read_rows, write_without
from paddle_alexnet.datasets.inspect.checks import (
    check_classes,
    check_copies,
    check_folder,
    check_images,
    check_links,
    check_names,
    row_frame,
)
from paddle_alexnet.datasets.inspect.decoded_file import CHECKS_JPEG, Photo, look_at_all
from paddle_alexnet.datasets.inspect.duplicates import MOST_WITHIN_SPLIT
from paddle_alexnet.system.errors import MissingFileError, UserError
from paddle_alexnet.system.files import open_csv, write_csv
from paddle_alexnet.system.output_files import check_output
from paddle_alexnet.system.progress import progress
from paddle_alexnet.system.typed_values import check_types

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inspection:
    """The result of `inspect`."""

    root: Path
    csv: Path
    classes: ClassList
    rows: pd.DataFrame  # the valid ones, see `row_frame`
    photos: dict[str, Photo]  # by their `file`
    counts: pd.DataFrame  # by class (rows) and split (columns)
    findings: list[Finding]
    accepted: frozenset[str] = frozenset()  # kinds of findings that are no faults and drop no rows


def inspect(
    root: Path, csv: Optional[Path] = None, *, top_k: Optional[int] = None, workers: int = 2, accept: Sequence[str] = ()
) -> Inspection:
    """Read every row and decode every image once; faults become findings.

    Args:
        csv: By default `labels.csv` in `root`, else the class folders of `root`; classes as in `read_rows`.
        top_k: The k that will be reported; a k of all classes is a finding.
        accept: Kinds of findings to accept.

    Raises:
        UserError: The data set is not found or unreadable, or an argument is invalid.
    """
    for name, value in (("top_k", top_k), ("workers", workers)):
        if value is not None and value < 1:
            raise UserError(f"{name} {value}: must be 1 or more; choose another")
    accepted = frozenset(one_of(kind, KINDS, what="kind of finding") for kind in accept)
    csv, complete, classes, malformed = read_rows(root, csv)
    of_rows = sorted(check_rows(complete, root, classes), key=lambda finding: abs(finding.line))
    every_row = row_frame(complete, classes, of_rows)
    no_file = [finding.line for finding in of_rows if finding.kind in ("outside", "missing")]
    there = every_row[~every_row["line"].isin(no_file)]  # including wrong labels and splits
    files = there["file"].unique().tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the findings cover Pillow's warnings
        seen = progress(look_at_all(root, files, workers=workers), what="inspect", total=len(files))
        photos = {photo.file: photo for photo in seen}
    decoded, of_images = check_images(there, photos)
    rows = decoded[decoded["sound"]]
    counts = _count(rows, classes)
    findings = [Finding("left-out", 0, "", note) for note in complete.notes]
    findings += [*malformed, *of_rows, *of_images, *check_copies(rows, photos)]
    findings += [*check_names(there[there["sound"]]), *check_links(there, root), *check_classes(counts, top_k=top_k)]
    findings += check_folder(root, {*every_row["file"], *_dropped_before(csv)}, csv=csv)
    _say_what_was_not_checked(rows)
    return Inspection(root, csv, classes, rows, photos, counts, findings, accepted)


def _say_what_was_not_checked(rows: pd.DataFrame) -> None:
    if not CHECKS_JPEG:
        _log.info('not checked: damaged data in JPEG files; pip install "paddle-alexnet[inspect]" to check')
    for split, count in rows["split"].value_counts().items():
        if count > MOST_WITHIN_SPLIT:
            _log.info(f"not checked: similar images under two labels within {split}, of {count:,} images")


def fix(inspection: Inspection) -> str:
    """Write a cleaned CSV and a list of the dropped files beside the CSV, and return a message.

    The list tells a later inspection of the cleaned CSV which files are unlisted on purpose.
    """
    dropped = [f for f in inspection.findings if severity(f.kind, inspection.accepted) == "drop"]
    if not dropped:
        return "nothing to fix: no row must be dropped"
    lines = dropped_lines(dropped)
    cleaned_csv(inspection.csv)
    files = {**_dropped_before(inspection.csv), **_dropped_files(inspection, dropped)}
    write_csv(_dropped_csv(inspection.csv), ("filename", "reason"), files.items())
    target = write_without(inspection.csv, lines)
    kinds = Counter(finding.kind for finding in dropped)
    reasons = ", ".join(f"{title}: {kinds[kind]}" for kind, (_, title) in KINDS.items() if kinds[kind])
    return (
        f"wrote {target} without {len(lines)} rows ({reasons}) and {_dropped_csv(inspection.csv)} with their images; "
        "the image files are unchanged"
    )


def _dropped_files(inspection: Inspection, dropped: Sequence[Finding]) -> dict[str, str]:
    """Return the images that lose all their rows, with reasons; an incomplete row may name one in any field."""
    lines = {finding.line: finding.detail for finding in dropped}
    kept = set(inspection.rows["file"][~inspection.rows["line"].isin(list(lines))])
    if inspection.csv.is_dir():
        return {finding.file: finding.detail for finding in dropped}
    files = {}
    with open_csv(inspection.csv) as rows:
        for row in rows:
            fields = [*row, *(field.replace("\\", "/") for field in row)] if rows.line_num in lines else []
            for file in map(posixpath.normpath, fields):
                if file not in kept and not file.startswith(("/", "../")) and os.path.isfile(inspection.root / file):
                    files[file] = lines[rows.line_num]
    return files


def _dropped_csv(csv: Path) -> Path:
    """Return the path of the list of dropped images, the same for a CSV and its cleaned CSVs."""
    if csv.is_dir():
        return csv / "labels.dropped.csv"
    return csv.with_name(re.sub(r"(\.cleaned)*$", "", csv.stem) + ".dropped.csv")


def _dropped_before(csv: Path) -> dict[str, str]:
    """Return the images of dropped rows with reasons. Raises UserError if their list is unreadable."""
    path = _dropped_csv(csv)
    if not path.exists():
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = table.DictReader(stream)
            if rows.fieldnames != ["filename", "reason"]:
                raise ValueError("its columns must be filename and reason")
            return check_types(dict[str, str], {row["filename"]: row["reason"] for row in rows})
    except (OSError, ValueError, KeyError, table.Error) as error:
        raise UserError(f"{path}: the list of dropped images is unreadable ({error}); move it away") from None


def check_outputs(*, root: Path, csv: Path, sheet: Path, report: Optional[Path], fixing: bool) -> None:
    """Raise UserError if an output cannot be written or would replace data."""
    for path, suffix, kind in ((sheet, ".png", "PNG"), (report, ".csv", "CSV")):
        if path is None:
            continue
        if path.suffix.lower() != suffix:
            raise UserError(f"{path}: must have the suffix {suffix}; rename it")
        if not path.parent.is_dir():
            raise MissingFileError(f"{path}: folder not found; create it first")
        if root.resolve() in path.resolve().parents:
            raise UserError(f"{path}: is inside the data folder {root}, which is never changed; choose another folder")
        if path.resolve() == csv.resolve():
            raise UserError(f"{path}: is the table to read; choose another file to write")
        check_output(path, kind, inputs=[csv])
    if fixing:
        cleaned_csv(csv)
        _dropped_before(csv)


def format_inspection(inspection: Inspection) -> str:
    """Return counts, sizes, formats and colors as text."""
    rows, counts = inspection.rows, inspection.counts.copy()
    counts["total"] = counts.sum(axis=1)
    counts = pd.concat([counts, counts.sum().to_frame("total").T])
    parts = [f"{inspection.csv}: {len(inspection.classes)} classes, {len(rows)} valid rows", counts.to_string()]
    if len(rows):
        photos = [inspection.photos[file] for file in rows["file"]]
        parts += [_sizes(photos), _kinds(photos), _colors(rows, photos)]
    return "\n\n".join(parts)


def _count(rows: pd.DataFrame, classes: ClassList) -> pd.DataFrame:
    counts = np.zeros((len(classes), len(SPLITS)), int)
    np.add.at(counts, (rows["class_index"].to_numpy(), rows["split_index"].to_numpy()), 1)
    return pd.DataFrame(counts, classes.lines(), SPLITS)


def _sizes(photos: list[Photo]) -> str:
    sizes = np.array([(photo.width, photo.height) for photo in photos], float)
    table = pd.DataFrame(
        [
            [f"{value:.0f}" for value in np.quantile(sizes[:, 0], (0, 0.5, 1))],
            [f"{value:.0f}" for value in np.quantile(sizes[:, 1], (0, 0.5, 1))],
            [f"{value:.2f}" for value in np.quantile(sizes[:, 0] / sizes[:, 1], (0, 0.5, 1))],
        ],
        ["width", "height", "width / height"],
        ["min", "median", "max"],
    )
    return table.to_string()


def _kinds(photos: list[Photo]) -> str:
    table = pd.DataFrame({"format": [p.format for p in photos], "mode": [p.mode for p in photos]})
    lines = []
    for column in table:
        shares = ", ".join(f"{name} {count}" for name, count in table[column].value_counts().items())
        lines.append(f"{column}s: {shares}")
    return "\n".join(lines)


def _colors(rows: pd.DataFrame, photos: list[Photo]) -> str:
    """Return mean and standard deviation of R, G, B, with every image weighted equally, as in training."""
    levels = np.array([photo.levels for photo in photos])
    table = {}
    for index, split in enumerate(SPLITS):
        of_split = levels[rows["split_index"].to_numpy() == index]
        if len(of_split):
            mean, square = of_split.mean(axis=0).reshape(2, 3)
            std = np.sqrt(np.maximum(square - mean**2, 0))
            table[split] = [f"{value:.3f}" for value in (*mean, *std)]
    columns = ["mean R", "G", "B", "std R", "G", "B"]
    return pd.DataFrame.from_dict(table, orient="index", columns=columns).to_string()
