"""Labelled pictures as people have them: class folders, flat files, tables such as Imagenette's.

Every source is read as a mapping of class labels to records, with notes on what was taken and left out.
"""

import csv
import os
import posixpath
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from paddle_alexnet.data.classes import MAX_CLASSES, is_wnid
from paddle_alexnet.data.findings import shown
from paddle_alexnet.data.formats import IMAGE_SUFFIXES
from paddle_alexnet.data.splits import SPLIT_FOLDERS
from paddle_alexnet.errors import UserError

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
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error


def is_hidden(name: str) -> bool:
    """Whether a system keeps a file for itself, as macOS does with `._cat.jpg` and what is in `__MACOSX`."""
    return name.startswith(".") or name == "__MACOSX"


def image_suffix(name: str) -> Optional[str]:
    """The ending of an image's name, None for other files and names that a CSV in UTF-8 cannot hold."""
    suffix = os.path.splitext(name)[1].lower()
    return suffix if suffix in IMAGE_SUFFIXES and not re.search("[\ud800-\udfff]", name) else None


def as_label(text: str, where: str) -> str:
    """A label from the name of a class, in Unicode's composed form. Raises UserError where it cannot be one."""
    label = unicodedata.normalize("NFC", text).strip()
    if re.search(r"[/\\]", label) or label.strip(". ") == "":
        raise UserError(f"{where}: label is {text!r}; write a name without slashes")
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in label):
        raise UserError(f"{where}: label is {text!r}; write a name in UTF-8 without line breaks and control characters")
    return label


def find_classes(source: Path, *, group: Optional[str] = None, follow_links: bool = False) -> Found:
    """The classes of a table, of split folders, of class folders or of file names, whichever it is.

    A column of a table named `group` gives the groups of its pictures. Raises UserError for what is no source, and
    for rows and symbolic links that leave it; of links only where they are not to be followed.
    """
    if source.is_file():
        if source.suffix.lower() != ".csv":
            raise UserError(f"{source}: not a source; give a folder of images, an ILSVRC-2012 .tar or a .csv")
        return Found(_from_table(source, group=group, follow_links=follow_links))
    for path in sorted(source.glob("*.csv")):
        with path.open(encoding="utf-8", errors="replace") as stream:
            if {"path", "is_valid"} <= set(re.findall(r"\w+", stream.readline(10_000))):
                return Found(_from_table(path, group=group, follow_links=follow_links))
    tree = _Tree(source, follow_links=follow_links)
    folders = tree.folders(source)
    splits = {folder: SPLIT_FOLDERS.get(folder.name.lower(), "") for folder in folders}
    train = [folder for folder, split in splits.items() if split == "train"]
    found: dict[str, list[Record]] = {}
    # A class of vehicles may be called train too: then the images lie in that folder itself.
    if train and not tree.images(train[0]):
        for folder, split in splits.items():
            if split and not tree.folders(folder):
                raise UserError(f"{folder}: has no class folders; sort its images into one folder a class")
            if split:
                _add_classes(found, tree, tree.folders(folder), split=split)
        extra = ", ".join(folder.name for folder, split in splits.items() if not split)
        if extra:
            tree.notes.append(f"left out: {extra}, beside {train[0].name} but no split")
    elif any(tree.images_within(folder) for folder in folders):
        _add_classes(found, tree, folders)
    else:
        _add_by_name(found, tree)
    return Found(found, [*tree.notes, *tree.left_out()])


def _add_classes(
    found: dict[str, list[Record]], tree: "_Tree", folders: Iterable[Path], *, split: Optional[str] = None
) -> None:
    for folder in folders:
        records = found.setdefault(as_label(folder.name, shown(str(folder))), [])
        records += [Record(name, folder / name, split) for name in tree.take(folder)]
        check_class_count(found, folder.parent)


def _add_by_name(found: dict[str, list[Record]], tree: "_Tree") -> None:
    for name in tree.take(tree.source):
        wnid = name[:9]
        if not is_wnid(wnid):
            raise UserError(
                f"{tree.source / name}: its name does not begin with a wnid (n02091244_1.JPEG); "
                "rename it, or sort the images into one folder a class"
            )
        found.setdefault(wnid, []).append(Record(name, tree.source / name))
    if not found:
        raise UserError(f"{tree.source}: no images in it ({', '.join(sorted(IMAGE_SUFFIXES))}), nor in its folders")


def check_class_count(found: Mapping[str, object], where: Path) -> None:
    """Raises UserError for more classes than a network can have."""
    if len(found) > MAX_CLASSES:
        raise UserError(f"{where}: more than {MAX_CLASSES:,} different labels; name what holds the classes")


class _Tree:
    """The folders of a source, each listed once; it remembers what was taken and what was not."""

    def __init__(self, source: Path, *, follow_links: bool) -> None:
        self.source, self.follow_links = source, follow_links
        self.notes: list[str] = []
        self._listed: dict[Path, tuple[list[Path], list[str]]] = {}
        self._left_out: Counter[str] = Counter()
        self._circles: set[Path] = set()
        self._taken = self._nested = 0

    def folders(self, folder: Path) -> list[Path]:
        return self._list(folder)[0]

    def images(self, folder: Path) -> list[str]:
        return self._list(folder)[1]

    def images_within(self, folder: Path) -> list[str]:
        """The images in a folder and in the folders within it, by their paths below it."""
        names = list(self.images(folder))
        for inner in self.folders(folder):
            if inner.is_symlink():  # which may lead in a circle
                self._circles.add(inner)
            else:
                names += [f"{inner.name}/{name}" for name in self.images_within(inner)]
        return names

    def take(self, folder: Path) -> list[str]:
        """The images of a class; those of a source without classes are only the ones in the folder itself."""
        names = self.images(folder) if folder == self.source else self.images_within(folder)
        self._taken += len(names)
        self._nested += sum("/" in name for name in names)
        return names

    def left_out(self) -> list[str]:
        """Notes on what is not where it is usually, and on what was left out."""
        notes = []
        if self._nested:
            notes.append(f"taken: {self._nested} images in folders within their class's folder, as of that class")
        beside = sum(len(images) for _, images in self._listed.values()) - self._taken
        if beside:
            notes.append(f"left out: {beside} images that lie in no class's folder")
        if self._circles:
            notes.append(f"left out: {len(self._circles)} symbolic links to folders within a class's folder")
        if self._left_out:
            kinds = ", ".join(f"{kind} {count}" for kind, count in self._left_out.most_common(8))
            notes.append(f"left out: {sum(self._left_out.values())} other files ({kinds})")
        return notes

    def _list(self, folder: Path) -> tuple[list[Path], list[str]]:
        """The folders and the names of the images in a folder, without hidden ones."""
        if folder not in self._listed:
            folders, images = [], []
            for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
                if is_hidden(entry.name):
                    self._left_out["hidden"] += 1
                    continue
                if entry.is_symlink() and not self.follow_links:
                    check_inside(Path(entry.path), self.source)
                if entry.is_dir():
                    folders.append(Path(entry.path))
                elif entry.is_file() and image_suffix(entry.name):
                    images.append(entry.name)
                else:
                    self._left_out[os.path.splitext(entry.name)[1].lower() or "no ending"] += 1
            self._listed[folder] = folders, images
        return self._listed[folder]


def check_inside(path: Path, source: Path) -> None:
    """Raises UserError for a symbolic link that leaves the source: who made it could copy any file of the reader's."""
    target = path.resolve()
    if source.resolve() not in (target, *target.parents):
        raise UserError(
            f"{path}: is a symbolic link to {target}, outside {source}; put the file itself there, "
            "or set follow_links if the links are your own"
        )


def _from_table(table: Path, *, group: Optional[str], follow_links: bool) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    lines: dict[str, int] = {}  # of the paths
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.reader(stream)
            header = next(rows, [])
            labels = [column for column in _LABEL_COLUMNS if column in header]
            if "path" not in header or not labels:
                raise UserError(f"{table}: needs a column path and a column {' or '.join(_LABEL_COLUMNS)}")
            for fields in filter(None, rows):
                where = f"{table}: line {rows.line_num}"
                if len(fields) != len(header):
                    raise UserError(f"{where}: {len(fields)} fields, where the header has {len(header)}")
                row = dict(zip(header, fields))
                path = posixpath.normpath(row["path"])
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
        raise UserError(f"{table}: cannot be read as a table ({error})") from error
    if not found:
        raise UserError(f"{table}: the table has no rows; write one an image")
    return found


def _file_of(path: str, table: Path, *, where: str, follow_links: bool) -> Path:
    if path.startswith(("/", "../")) or os.path.isabs(path):
        raise UserError(f"{where}: {path!r} leaves the table's folder {table.parent}; put the image in there")
    file = table.parent / path
    if not file.is_file():
        raise UserError(f"{where}: no such file {path!r}; paths start at the table's folder")
    if not follow_links:
        check_inside(file, table.parent)  # any folder on the way may be a link
    return file
