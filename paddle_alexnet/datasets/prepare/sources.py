"""Sources of labeled images: class folders, flat files, tables such as Imagenette's."""

import csv
import os
import posixpath
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from paddle_alexnet.data.classes import MAX_CLASSES, is_wnid
from paddle_alexnet.data.tree import Tree, as_label, check_inside
from paddle_alexnet.system.errors import MissingFileError, UserError
from paddle_alexnet.system.files import decode, explain_error, open_csv

_LABEL_COLUMNS = ("label", "noisy_labels_0", "wnid", "class")  # the second is Imagenette's, without noise
_IS_VALID = {"": None, "true": "val", "1": "val", "false": "train", "0": "train"}


@dataclass(frozen=True)
class Record:
    """One image of a source."""

    name: str  # below its class folder, if any
    file: Path
    split: Optional[str] = None  # None if the source does not say
    span: Optional[tuple[int, int]] = None  # offset and size inside an archive
    path: Optional[str] = None  # in a table
    group: Optional[str] = None  # from a table's column


@dataclass
class Found:
    """The records of a source by label."""

    classes: Mapping[str, Iterable[Record]]
    notes: list[str] = field(default_factory=list)  # on skipped files; complete once all records are listed


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file. Raises UserError if it is unreadable."""
    try:
        return decode(path.read_bytes()).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: is unreadable ({explain_error(error)})") from error


def find_classes(source: Path, *, group: Optional[str] = None, follow_links: bool = False) -> Found:
    """Return the classes of a table, of split folders, of class folders or of file names.

    Args:
        group: Column of a table with the images' groups.

    Raises:
        UserError: The source is unsupported, or a row or (unless `follow_links`) a symbolic link leaves the source.
    """
    if source.is_file():
        if source.suffix.lower() != ".csv":
            raise UserError(f"{source}: is not a source; give a folder of images, an ILSVRC-2012 .tar or a .csv")
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
                f"{tree.root / name}: the name must begin with a wnid (n02091244_1.JPEG); "
                "rename it, or sort the images into one folder per class"
            )
        found.setdefault(wnid, []).append(Record(name, tree.root / name))
    if not found:
        raise tree.no_images()


def check_class_count(found: Mapping[str, object], where: Path) -> None:
    """Raise UserError for more than MAX_CLASSES classes."""
    if len(found) > MAX_CLASSES:
        raise UserError(f"{where}: has more than {MAX_CLASSES:,} different labels; choose another source or column")


def _header(path: Path) -> list[str]:
    """Return the first row of a table, or nothing for another file."""
    try:
        with suppress(ValueError, csv.Error), open_csv(path) as rows:
            return next(rows, [])
    except OSError as error:
        raise UserError(f"{path}: is unreadable ({error.strerror}); make it readable or move it away") from None
    return []


def _from_table(table: Path, *, group: Optional[str], follow_links: bool) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    lines: dict[str, int] = {}  # of the paths
    try:
        with open_csv(table) as rows:
            header: list[str] = next(rows, [])
            labels = [column for column in _LABEL_COLUMNS if column in header]
            if "path" not in header or not labels:
                raise UserError(f"{table}: must have columns path and {' or '.join(_LABEL_COLUMNS)}; rename yours")
            for fields in filter(None, rows):
                where = f"{table}: line {rows.line_num}"
                if len(fields) != len(header):
                    raise UserError(f"{where}: has {len(fields)} fields, the header {len(header)}; correct the row")
                row = dict(zip(header, fields))
                path = row["path"]
                if "\\" in path and not os.path.lexists(table.parent / path):  # Windows paths
                    path = path.replace("\\", "/")
                path = posixpath.normpath(path)
                first = lines.setdefault(path, rows.line_num)
                if first != rows.line_num:
                    raise UserError(f"{where}: {path} is also in line {first}; keep one of them")
                label = as_label(row[labels[0]], where)
                file = _file_of(path, table, where=where, follow_links=follow_links)
                valid = row.get("is_valid", "").lower()
                if valid not in _IS_VALID:
                    raise UserError(f"{where}: is_valid is {row['is_valid']!r}; use True or False")
                name = posixpath.basename(path)
                record = Record(name, file, _IS_VALID[valid], path=path, group=row.get(group or ""))
                found.setdefault(label, []).append(record)
                check_class_count(found, table)
    except UserError:
        raise
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{table}: is unreadable as a table ({explain_error(error)})") from error
    if not found:
        raise UserError(f"{table}: must have rows below its header; add one per image")
    return found


def _file_of(path: str, table: Path, *, where: str, follow_links: bool) -> Path:
    if path.startswith(("/", "../")) or os.path.isabs(path):
        raise UserError(f"{where}: {path!r} leaves the table's folder {table.parent}; move the image into it")
    file = table.parent / path
    if not os.path.isfile(file):
        raise MissingFileError(f"{where}: file {path!r} not found; give paths relative to the table's folder")
    if not follow_links:
        check_inside(file, table.parent)  # any folder of the path may be a link
    return file
