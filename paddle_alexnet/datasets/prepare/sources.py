"""Labeled pictures as people have them: class folders, flat files, tables such as Imagenette's.

Every source is read as a mapping of class labels to records, with notes on what was taken and left out.
"""

import csv
import os
import posixpath
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from paddle_alexnet.data.classes import MAX_CLASSES, is_wnid
from paddle_alexnet.data.formats import IMAGE_SUFFIXES
from paddle_alexnet.data.tree import Tree, as_label, check_inside
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.text_files import decode, open_csv, why

_LABEL_COLUMNS = ("label", "noisy_labels_0", "wnid", "class")  # Imagenette's: 0 % of its labels are wrong
_IS_VALID = {"": None, "true": "val", "1": "val", "false": "train", "0": "train"}


@dataclass(frozen=True)
class Record:
    """One image of a source: its name, below its class's folder if it has one, and where its bytes are.

    `split` is the one that the source asks for, None where it leaves the choice open; `span` is the offset and size
    inside an archive, None for a file of its own; of a table's image there is the `path` in it, and what its column of
    groups says.
    """

    name: str
    file: Path
    split: Optional[str] = None
    span: Optional[tuple[int, int]] = None
    path: Optional[str] = None
    group: Optional[str] = None


@dataclass
class Found:
    """The records of a source by label, and notes on what was taken and left out, complete once all are listed."""

    classes: Mapping[str, Iterable[Record]]
    notes: list[str] = field(default_factory=list)


def read_lines(path: Path) -> list[str]:
    """The lines of a text file. Raises UserError if it cannot be read."""
    try:
        return decode(path.read_bytes()).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({why(error)})") from error


def find_classes(source: Path, *, group: Optional[str] = None, follow_links: bool = False) -> Found:
    """The classes of a table, of split folders, of class folders or of file names, whichever it is.

    A column of a table named `group` gives the groups of its pictures. Raises UserError for what is no source, and
    for rows and symbolic links that leave it; of links only where they are not to be followed.
    """
    if source.is_file():
        if source.suffix.lower() != ".csv":
            raise UserError(f"{source}: not a source; give a folder of images, an ILSVRC-2012 .tar or a .csv")
        return Found(_from_table(source, group=group, follow_links=follow_links))
    for path in source.iterdir():
        if path.suffix == ".csv" and path.is_file() and {"path", "is_valid"} <= set(_header(path)):
            return Found(_from_table(path, group=group, follow_links=follow_links))
    tree = Tree(source, follow_links=follow_links)
    found: dict[str, list[Record]] = {}
    folders = tree.class_folders()
    for folder, label, split in folders or ():
        found.setdefault(label, []).extend(Record(name, folder / name, split) for name in tree.take(folder))
        check_class_count(found, folder.parent)
    if folders is None:
        _add_by_name(found, tree)
    return Found(found, tree.notes())


def _add_by_name(found: dict[str, list[Record]], tree: Tree) -> None:
    for name in tree.take(tree.root):
        wnid = name[:9]
        if not is_wnid(wnid):
            raise UserError(
                f"{tree.root / name}: its name does not begin with a wnid (n02091244_1.JPEG); "
                "rename it, or sort the images into one folder a class"
            )
        found.setdefault(wnid, []).append(Record(name, tree.root / name))
    if not found:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        raise UserError(f"{tree.root}: no images in it ({kinds}), nor in its folders{tree.heic_remedy()}")


def check_class_count(found: Mapping[str, object], where: Path) -> None:
    """Raises UserError for more classes than a network can have."""
    if len(found) > MAX_CLASSES:
        raise UserError(f"{where}: more than {MAX_CLASSES:,} different labels; name what holds the classes")


def _header(path: Path) -> list[str]:
    """The first row of a table; empty for a file that is none."""
    try:
        with suppress(ValueError, csv.Error), open_csv(path) as rows:
            return next(rows, [])
    except OSError as error:
        raise UserError(f"{path}: cannot read it ({error.strerror}); make it readable or move it away") from None
    return []


def _from_table(table: Path, *, group: Optional[str], follow_links: bool) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    lines: dict[str, int] = {}  # of the paths
    try:
        with open_csv(table) as rows:
            header: list[str] = next(rows, [])
            labels = [column for column in _LABEL_COLUMNS if column in header]
            if "path" not in header or not labels:
                raise UserError(f"{table}: needs a column path and a column {' or '.join(_LABEL_COLUMNS)}")
            for fields in filter(None, rows):
                where = f"{table}: line {rows.line_num}"
                if len(fields) != len(header):
                    raise UserError(f"{where}: {len(fields)} fields, where the header has {len(header)}")
                row = dict(zip(header, fields))
                path = row["path"]
                if "\\" in path and not os.path.lexists(table.parent / path):  # as Windows writes paths
                    path = path.replace("\\", "/")
                path = posixpath.normpath(path)
                first = lines.setdefault(path, rows.line_num)
                if first != rows.line_num:
                    raise UserError(f"{where}: {path} is listed already in line {first}; keep one of them")
                label = as_label(row[labels[0]], where)
                file = _file_of(path, table, where=where, follow_links=follow_links)
                valid = row.get("is_valid", "").lower()
                if valid not in _IS_VALID:
                    raise UserError(f"{where}: is_valid is {row['is_valid']!r}; write True or False")
                name = posixpath.basename(path)
                record = Record(name, file, _IS_VALID[valid], path=path, group=row.get(group or ""))
                found.setdefault(label, []).append(record)
                check_class_count(found, table)
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{table}: cannot be read as a table ({why(error)})") from error
    if not found:
        raise UserError(f"{table}: the table has no rows; write one an image")
    return found


def _file_of(path: str, table: Path, *, where: str, follow_links: bool) -> Path:
    if path.startswith(("/", "../")) or os.path.isabs(path):
        raise UserError(f"{where}: {path!r} leaves the table's folder {table.parent}; put the image in there")
    file = table.parent / path
    if not os.path.isfile(file):
        raise UserError(f"{where}: no such file {path!r}; paths start at the table's folder")
    if not follow_links:
        check_inside(file, table.parent)  # any folder on the way may be a link
    return file
