"""ILSVRC-2012's archives: the training archive with an archive per class, and the validation archive beside it.

This reader of plain tar checks every number. Python's tarfile also reads links, sparse files and any size, and accepts
truncated archives.
"""

import itertools
import os
import posixpath
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Optional

from paddle_alexnet.data.classes import is_wnid
from paddle_alexnet.data.tree import image_suffix, is_hidden
from paddle_alexnet.datasets.prepare.ilsvrc import val_labels
from paddle_alexnet.datasets.prepare.sources import Found, Record
from paddle_alexnet.system.errors import UserError

Span = tuple[int, int]  # offset and size in a file

_TRAIN_TAR = "ILSVRC2012_img_train.tar"
_VAL_TAR = "ILSVRC2012_img_val.tar"
_LABEL_FILES = "*val*.txt or LOC_val_solution.csv"
_BLOCK = 512
_LONGEST_NAME = 65_536  # bytes of an extended header
_COMPRESSED = {b"\x1f\x8b": "gunzip", b"BZ": "bunzip2", b"\xfd7": "unxz"}


def find_archive(source: Path) -> Optional[Path]:
    """Return the training archive, which is `source` or a file in it, or None."""
    archive = source / _TRAIN_TAR if source.is_dir() else source
    return archive if re.search(r"\.(tar|tgz|tar\.\w+)$", archive.name.lower()) and archive.is_file() else None


def from_archive(archive: Path) -> Found:
    """Return the classes of ILSVRC-2012's training archive and of a validation archive beside it.

    Records are listed lazily, so that unused classes of the archive are never read.
    """
    notes: list[str] = []
    val = _labeled_val(archive.with_name(_VAL_TAR), notes)
    found: dict[str, Iterable[Record]] = {}
    for name, span in list_tar(archive):
        wnid, _, suffix = name.partition(".")
        if suffix == "tar" and is_wnid(wnid):
            images = _images_in(archive, split="train" if val else None, notes=notes, within=span)
            found[wnid] = itertools.chain(images, val.get(wnid, []))
    if not found:
        raise UserError(f"{archive}: has no class archives such as n01440764.tar; give {_TRAIN_TAR}")
    return Found(found, notes)


def _labeled_val(archive: Path, notes: list[str]) -> dict[str, list[Record]]:
    """Return the validation archive's images by wnid; nothing if the archive or its labels are missing."""
    if not archive.is_file():
        return {}
    files = sorted(
        path for path in archive.parent.glob("*val*") if path.suffix in (".txt", ".csv") and os.path.isfile(path)
    )
    if not files:
        notes.append(f"left out: {archive.name}, because it has no list of labels ({_LABEL_FILES}) beside it")
        return {}
    records = list(_images_in(archive, split="val", notes=notes))
    file, labels = val_labels(files, names=[record.name for record in records])
    if len(labels) > len(records):
        notes.append(f"{archive.name} has {len(records)} of the {len(labels)} images that {file.name} lists")
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(labels[Path(record.name).stem], []).append(record)
    return found


def _images_in(
    archive: Path, *, split: Optional[str], notes: list[str], within: Optional[Span] = None
) -> Iterator[Record]:
    left_out = 0
    for name, span in list_tar(archive, within=within):
        if image_suffix(name) and not is_hidden(name):
            yield Record(name, archive, split, span)
        else:
            left_out += 1
    if left_out:
        notes.append(f"left out: {left_out} files in {archive.name} without an image suffix")


def list_tar(archive: Path, *, within: Optional[Span] = None) -> Iterator[tuple[str, Span]]:
    """Yield base name and span of each file in a plain tar.

    Args:
        within: Span of a tar inside the archive to list instead.

    Raises:
        UserError: The tar is compressed or truncated, or has members other than plain files and folders.
    """
    start, size = within or (0, archive.stat().st_size)
    try:
        with archive.open("rb") as stream:
            yield from _files(stream, start, start + size)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{archive}: must be a complete, plain tar: {error}") from None


def _files(stream: BinaryIO, start: int, end: int) -> Iterator[tuple[str, Span]]:
    stream.seek(start)
    magic = stream.read(2)
    if magic in _COMPRESSED:
        raise ValueError(f"it is compressed; {_COMPRESSED[magic]} it first")
    extended: dict[str, str] = {}  # from extended headers before a member
    while True:
        stream.seek(start)
        header = stream.read(_BLOCK)
        if start + _BLOCK > end or len(header) < _BLOCK:
            raise ValueError("it ends before its end mark; download it again")
        if not any(header):
            return
        if _number(header[148:156]) != sum(header) - sum(header[148:156]) + 8 * ord(" "):
            raise ValueError(f"byte {start:,} begins no header; download it again")
        kind = header[156:157]
        size = _number(extended["size"].encode(), base=10) if "size" in extended else _number(header[124:136])
        data, start = start + _BLOCK, start + _BLOCK * (1 + -(-size // _BLOCK))
        if start > end:
            raise ValueError("a member extends past its end; download it again")
        if kind in (b"x", b"L"):
            if size > _LONGEST_NAME:
                raise ValueError("a member's name is too long; rename it")
            text = stream.read(size)
            extended.update(
                _pax(text) if kind == b"x" else {"path": text.rstrip(b"\0").decode(errors="surrogateescape")}
            )
            continue
        if kind == b"S" or any(key.startswith("GNU.sparse") for key in extended):
            raise ValueError("it has sparse files; pack it without them")
        name = posixpath.basename(extended.get("path", _text(header[:100])))
        if kind in (b"0", b"\0", b"7"):
            yield name, (data, size)
        elif kind in (b"1", b"2"):
            raise ValueError(f"{name!r} in it is a link; pack the file itself")
        if kind not in (b"g", b"K"):
            extended = {}


def _number(field: bytes, *, base: int = 8) -> int:
    """Return a header's number, in digits or GNU's base 256. Raises ValueError for other text, such as a minus."""
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b"\0 ")
    if not re.fullmatch(rb"[0-9]{0,20}", digits):
        raise ValueError(f"{digits!r} is not a number; download it again")
    return int(digits or b"0", base)


def _pax(text: bytes) -> dict[str, str]:
    """Return the records `<length> <key>=<value>` of an extended header."""
    records: dict[str, str] = {}
    while text:
        length, _, _ = text.partition(b" ")
        key, _, value = text[: int(length)].partition(b" ")[2].rstrip(b"\n").partition(b"=")
        if not key or not 5 <= int(length) <= len(text):
            raise ValueError("an extended header is damaged; download it again")
        records[key.decode()] = value.decode(errors="surrogateescape")
        text = text[int(length) :]
    return records


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode(errors="surrogateescape")
