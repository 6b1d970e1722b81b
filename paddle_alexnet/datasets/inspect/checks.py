"""Checks of a data set's rows, images, classes and splits."""

import os
import posixpath
import re
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any, Optional

import numpy as np
import pandas as pd

from paddle_alexnet.data.classes import ClassList
from paddle_alexnet.data.findings import Finding, row_in_words
from paddle_alexnet.data.formats import IMAGE_SUFFIXES
from paddle_alexnet.data.splits import SPLITS
from paddle_alexnet.data.table import Rows
from paddle_alexnet.datasets.inspect.decoded_file import Photo
from paddle_alexnet.datasets.inspect.duplicates import find_copies

_IMAGENET_VAL = re.compile(r"ILSVRC2012_val_\d{8}\D")
_IMAGENET_TRAIN = re.compile(r"n\d{8}_\d+\D")


def row_frame(rows: Rows, classes: ClassList, findings: Sequence[Finding]) -> pd.DataFrame:
    """Return the complete rows of a CSV as a table.

    Returns:
        Columns line, filename, label and split (categories), class_index and split_index (-1 if unknown), `file` (the
        normalized path below the root) and `sound` (whether the row has no finding).
    """
    labels, splits = rows.codes(classes)
    lines = np.array(rows.lines, np.int64)
    return pd.DataFrame(
        {
            "line": lines,
            "filename": pd.Series(rows.filenames, dtype=object),
            "label": pd.Categorical(rows.labels),
            "split": pd.Categorical(rows.splits),
            "class_index": labels,
            "split_index": splits,
            "file": pd.Series(map(_spelling, rows.filenames), dtype=object),
            "sound": ~np.isin(lines, [finding.line for finding in findings]),
        }
    )


def check_images(rows: pd.DataFrame, photos: Mapping[str, Photo]) -> tuple[pd.DataFrame, list[Finding]]:
    """Return the rows whose image can be decoded, and the findings of all images."""
    findings = [
        note._replace(line=line, file=filename)
        for line, filename, file in zip(rows["line"], rows["filename"], rows["file"])
        for note in photos[file].notes
    ]
    decoded = np.array([bool(photos[file].thumbnail) for file in rows["file"]], bool)
    return rows[decoded], findings


def check_copies(rows: pd.DataFrame, photos: Mapping[str, Photo]) -> list[Finding]:
    """Return the rows whose image is a duplicate; the one in the later split counts as the original.

    Dropping duplicates therefore keeps the test split whole, then val. If the labels differ, both rows are findings.
    """
    rows = rows.assign(content=[photos[file].sha256 for file in rows["file"]])
    rows = rows.sort_values(["split_index", "line"], ascending=[False, True])
    repeated = rows["content"].duplicated()
    unique, copies = rows[~repeated], rows[repeated]
    originals = unique.set_index("content").loc[copies["content"]]
    pairs = [(_kind(*pair), *pair) for pair in zip(copies.itertuples(), originals.itertuples())]
    conflicts = [(copy, original) for _, copy, original in pairs if copy.class_index != original.class_index]
    conflicts += [(original, copy) for copy, original in conflicts]

    similar = find_copies(
        thumbnails=[photos[file].thumbnail for file in unique["file"]],
        centers=[photos[file].center for file in unique["file"]],
        splits=unique["split_index"].to_numpy(),
        labels=unique["class_index"].to_numpy(),
    )
    pairs += [("near-leak", *pair) for pair in _pairs(unique, similar.in_later_split)]
    conflicts += _pairs(unique, similar.other_label)

    findings = []
    for kind, copy, original in pairs:
        same_file = copy.file == original.file
        where = f"line {original.line}" if same_file else row_in_words(original.line, original.filename)
        label = "" if copy.class_index == original.class_index else f", labeled {original.label!r} there"
        detail = f"in {copy.split}; the same as {where}, in {original.split}{label}"
        findings.append(Finding(kind, copy.line, copy.filename, detail))
    for line, (row, other) in sorted({row.line: (row, other) for row, other in reversed(conflicts)}.items()):
        where = row_in_words(other.line, other.filename)
        detail = f"labeled {row.label!r}; {where}, is labeled {other.label!r}"
        findings.append(Finding("conflict", line, row.filename, detail))
    return findings


def _pairs(rows: pd.DataFrame, other: np.ndarray) -> list[tuple[Any, Any]]:
    """Return each row with the row at its index in `other`."""
    return list(zip(rows[other >= 0].itertuples(), rows.iloc[other[other >= 0]].itertuples()))


def check_names(rows: pd.DataFrame) -> list[Finding]:
    """Find ImageNet's splits by file names; Imagenette mixes them."""
    names = [posixpath.basename(file) for file in rows["file"]]
    from_val = np.array([bool(_IMAGENET_VAL.match(name)) for name in names], bool)
    from_train = np.array([bool(_IMAGENET_TRAIN.match(name)) for name in names], bool)
    trained = rows["split_index"].to_numpy() == SPLITS.index("train")
    findings = []
    for kind, some, what in (
        ("imagenet-val", from_val & trained, "never evaluate the trained model on ImageNet's validation set"),
        ("held-out", from_train & ~trained, "models pretrained on ImageNet have seen them"),
    ):
        if some.any():
            first = next(rows[some].itertuples())
            where = row_in_words(first.line, first.filename)
            detail = f"{some.sum()} files, the first in {where}: {what}"
            findings.append(Finding(kind, 0, "", detail))
    return findings


def check_links(rows: pd.DataFrame, root: Path) -> list[Finding]:
    """Find images that are, or are below, symbolic links that leave the data folder."""
    whole = os.path.realpath(root)
    folders: dict[str, str] = {}  # to their real paths
    outside = []
    for row in rows.drop_duplicates("file").itertuples():
        folder, name = posixpath.split(row.file)
        if folder not in folders:
            folders[folder] = os.path.realpath(os.path.join(root, folder))
        path = os.path.join(folders[folder], name)
        if os.path.commonpath([whole, os.path.realpath(path) if os.path.islink(path) else path]) != whole:
            outside.append(row)
    if not outside:
        return []
    where = row_in_words(outside[0].line, outside[0].filename)
    detail = f"{len(outside)} images, the first in {where}; a copy of the folder lacks them"
    return [Finding("link", 0, "", detail)]


def check_classes(counts: pd.DataFrame, *, top_k: Optional[int]) -> list[Finding]:
    """Find classes and splits without images, in counts by class (rows) and split (columns)."""
    empty = [split for split in SPLITS if not counts[split].any()]
    details = [f"split {split}: no images" for split in empty if split != "test"]
    for name, row in counts.iterrows():
        lacking = [split for split in SPLITS if split not in empty and not row[split]]
        if not row.any():
            details.append(f"class {name}: no images")
        elif lacking:
            details.append(f"class {name}: no images in {' and '.join(lacking)}")
    findings = [Finding("gap", 0, "", detail) for detail in details]
    if "test" in empty:
        findings.append(Finding("no-test", 0, "", "split test: no images"))
    if top_k is not None and top_k >= len(counts):
        detail = f"top-{top_k} of {len(counts)} classes is always correct; report top-1"
        findings.append(Finding("top-k", 0, "", detail))
    return findings


def check_folder(root: Path, listed: Set[str], *, csv: Path) -> list[Finding]:
    """Find image files that are not listed, except hidden ones."""
    findings = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = os.path.relpath(folder, root).replace(os.sep, "/")
        for name in sorted(names):
            file = name if below == "." else f"{below}/{name}"
            suffix = os.path.splitext(name)[1].lower()
            if suffix in IMAGE_SUFFIXES and not name.startswith(".") and file not in listed:
                where = "no class folder" if csv.is_dir() else f"no row of {csv.name}"
                findings.append(Finding("unlisted", 0, file, f"in {where}"))
    return findings


def _kind(copy: Any, original: Any) -> str:
    """Return the kind of finding of two rows with the same bytes."""
    if copy.split_index != original.split_index:
        return "leak"
    return "repeated" if copy.file == original.file else "duplicate"


def _spelling(filename: str) -> str:
    """Return a path without `.` and repeated slashes, so that equal files have equal paths."""
    folder, name = posixpath.split(filename)
    below = posixpath.normpath(folder or ".")
    return name if below == "." else f"{below}/{name}"
