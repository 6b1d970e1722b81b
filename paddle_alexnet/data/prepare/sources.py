"""Labelled pictures as people have them: folders, flat files, ILSVRC-2012 archives, Imagenette's CSV.

Every source is read as a mapping of class labels to records. The records are listed only for the
classes that are wanted, so that the rest of an archive is never read.
"""

import itertools
import os
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import pandas as pd

from paddle_alexnet.data.classes import imagenet_words, is_wnid
from paddle_alexnet.data.preprocess import IMAGE_SUFFIXES
from paddle_alexnet.errors import UserError

_TRAIN_TAR = "ILSVRC2012_img_train.tar"
_VAL_TAR = "ILSVRC2012_img_val.tar"
_SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_LABEL_COLUMNS = ("label", "noisy_labels_0", "wnid", "class")  # Imagenette's: 0 % of its labels are wrong


@dataclass(frozen=True)
class Record:
    """One image of a source: its own name, and where its bytes are.

    `split` is the one that the source asks for, None where it leaves the choice open; `span` is the
    offset and size inside an uncompressed archive, None for a file of its own.
    """

    name: str
    file: Path
    split: Optional[str] = None
    span: Optional[tuple[int, int]] = None


def read_lines(path: Path) -> list[str]:
    """The lines of a text file. Raises UserError if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error


def _is_image(name: str) -> bool:
    return Path(name).suffix.lower() in IMAGE_SUFFIXES and not name.startswith(".")


def _images_in(folder: Path, split: Optional[str] = None) -> Iterator[Record]:
    for path in sorted(folder.iterdir()):
        if _is_image(path.name) and path.is_file():
            yield Record(path.name, path, split)


def _folders_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def find_classes(source: Path) -> Mapping[str, Iterable[Record]]:
    """The classes of a table, of split folders, of class folders or of file names, whichever it is."""
    if source.is_file():
        if source.suffix.lower() != ".csv":
            raise UserError(f"{source}: not a source; give a folder of images, an ILSVRC-2012 .tar or a .csv")
        return _from_table(source)
    for path in sorted(source.glob("*.csv")):
        with path.open(encoding="utf-8", errors="replace") as stream:
            if {"path", "is_valid"} <= set(re.findall(r"\w+", stream.readline())):
                return _from_table(path)
    folders = _folders_in(source)
    splits = {folder: _SPLIT_FOLDERS.get(folder.name.lower(), "") for folder in folders}
    train = [folder for folder, split in splits.items() if split == "train"]
    # A class of vehicles may be called train too: then the images lie in that folder itself.
    if train and not any(_images_in(train[0])):
        return _from_split_folders({folder: split for folder, split in splits.items() if split})
    if any(record for folder in folders for record in _images_in(folder)):
        return {folder.name: _images_in(folder) for folder in folders}
    return _from_file_names(source)


def _from_split_folders(splits: Mapping[Path, str]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for folder, split in splits.items():
        if not _folders_in(folder):
            raise UserError(f"{folder}: has no class folders; sort its images into one folder a class")
        for class_folder in _folders_in(folder):
            found.setdefault(class_folder.name, []).extend(_images_in(class_folder, split))
    return found


def _from_file_names(source: Path) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in _images_in(source):
        wnid = record.name[:9]
        if not is_wnid(wnid):
            raise UserError(
                f"{record.file}: its name does not begin with a wnid (n02091244_1.JPEG); "
                "rename it, or sort the images into one folder a class"
            )
        found.setdefault(wnid, []).append(record)
    if not found:
        raise UserError(f"{source}: no images in it ({', '.join(sorted(IMAGE_SUFFIXES))}), nor in its folders")
    return found


def _from_table(csv: Path) -> dict[str, list[Record]]:
    try:
        table = pd.read_csv(csv, dtype=str, keep_default_na=False, index_col=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{csv}: cannot be read as a table ({str(error).strip()})") from error
    labels = [column for column in _LABEL_COLUMNS if column in table]
    if "path" not in table or not labels:
        raise UserError(f"{csv}: needs a column path and a column {' or '.join(_LABEL_COLUMNS)}")
    repeated = table["path"][table["path"].duplicated()]
    if len(repeated):
        raise UserError(f"{csv}: path {repeated.iloc[0]} is listed twice; keep one line of it")
    splits = {"true": "val", "1": "val", "false": "train", "0": "train"}
    asked = table["is_valid"] if "is_valid" in table else itertools.repeat("")
    found: dict[str, list[Record]] = {}
    for number, (path, label, valid) in enumerate(zip(table["path"], table[labels[0]], asked), start=2):
        if not (csv.parent / path).is_file():
            raise UserError(f"{csv}: line {number}: no such file {path!r}; paths start at the table's folder")
        if re.search(r"[/\\]", label) or label.strip(". ") == "":
            raise UserError(f"{csv}: line {number}: {labels[0]} is {label!r}; write a name without slashes")
        if valid and valid.lower() not in splits:
            raise UserError(f"{csv}: line {number}: is_valid is {valid!r}; write True or False")
        record = Record(Path(path).name, csv.parent / path, splits.get(valid.lower()))
        found.setdefault(label, []).append(record)
    if not found:
        raise UserError(f"{csv}: the table has no rows; write one an image")
    return found


def find_archive(source: Path) -> Optional[Path]:
    """The training archive that a source is or holds, if it does."""
    archive = source / _TRAIN_TAR if source.is_dir() else source
    return archive if archive.suffix.lower() == ".tar" and archive.is_file() else None


def from_archive(archive: Path) -> dict[str, Iterable[Record]]:
    """The classes of ILSVRC-2012's training archive, with what a validation archive beside it adds."""
    val = _labelled_val(archive.with_name(_VAL_TAR))
    found: dict[str, Iterable[Record]] = {}
    for name, span in _list_tar(archive):
        wnid, suffix = os.path.splitext(name)
        if suffix == ".tar" and is_wnid(wnid):
            train = _images_in_tar(archive, split="train" if val else None, within=span)
            found[wnid] = itertools.chain(train, val.get(wnid, []))
    if not found:
        raise UserError(f"{archive}: holds no class archives such as n01440764.tar; give {_TRAIN_TAR}")
    return found


def _images_in_tar(
    archive: Path, *, split: Optional[str], within: Optional[tuple[int, int]] = None
) -> Iterator[Record]:
    for name, span in _list_tar(archive, within=within):
        if _is_image(name):
            yield Record(name, archive, split, span)


def _list_tar(archive: Path, *, within: Optional[tuple[int, int]] = None) -> Iterator[tuple[str, tuple[int, int]]]:
    """Base name and span of each file in an archive, or in the archive within a span of it."""
    start, size = within or (0, archive.stat().st_size)
    try:
        with archive.open("rb") as stream:
            stream.seek(start)
            # Read from there, tarfile gives the offsets in the whole file.
            with tarfile.open(fileobj=stream, mode="r:") as tar:
                for member in tar:
                    if member.offset_data + member.size > start + size:
                        raise tarfile.ReadError("a file runs past its end")
                    if member.isreg():
                        yield Path(member.name).name, (member.offset_data, member.size)
    except tarfile.TarError as error:
        raise UserError(f"{archive}: not a complete, plain tar ({error}); download it again") from error


def _labelled_val(archive: Path) -> dict[str, list[Record]]:
    """The validation archive's images by wnid; nothing where it or its label file is missing."""
    files = sorted(archive.parent.glob("*val*.txt"))
    if not (files and archive.is_file()):
        return {}
    records = sorted(_images_in_tar(archive, split="val"), key=lambda record: record.name)
    labels = _read_val_labels(files, names=[record.name for record in records])
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(labels[record.name], []).append(record)
    return found


def _read_val_labels(files: Sequence[Path], *, names: Sequence[str]) -> dict[str, str]:
    """The wnid of each image, from the first file that tells.

    Its lines are `<name> <wnid>`, a wnid alone in the order of the names, or, as in Caffe's val.txt,
    `<name> <index>` with the index of the sorted wnids.
    """
    for path in files:
        lines = [line.split() for line in read_lines(path) if line.strip()]
        if not all(len(line) == 1 and line[0].isdigit() for line in lines):
            break
    else:
        raise UserError(
            f"{files[0]}: bare numbers follow ILSVRC's own order of classes; put a file *val*.txt of lines "
            "'ILSVRC2012_val_00000001.JPEG n01440764', or of one wnid a line, in its place"
        )
    if all(len(line) == 1 for line in lines):
        if len(lines) != len(names):
            raise UserError(f"{path}: {len(lines)} lines for {len(names)} images; give one wnid an image")
        lines = [[name, *line] for name, line in zip(names, lines)]
    sorted_wnids = sorted(imagenet_words())
    labels = {}
    for number, line in enumerate(lines, start=1):
        label = line[-1]
        if label.isdigit() and int(label) < len(sorted_wnids):
            label = sorted_wnids[int(label)]
        if len(line) != 2 or not is_wnid(label):
            raise UserError(f"{path}: line {number} is {' '.join(line)!r}; write a file name and a wnid")
        labels[Path(line[0]).name] = label
    missing = sorted(set(names) - set(labels))
    if missing:
        raise UserError(f"{path}: has no line for {missing[0]}; add its wnid")
    return labels
