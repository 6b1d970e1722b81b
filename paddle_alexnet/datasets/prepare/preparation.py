"""Data set preparation: from a source of labeled images to images/, labels.csv and classes.txt."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional

import pandas as pd

from paddle_alexnet.config.choices import nearest
from paddle_alexnet.data.classes import ClassList, imagenet_words, is_wnid
from paddle_alexnet.data.splits import DEFAULT_SPLIT, SPLITS, check_split, draw_splits, open_to
from paddle_alexnet.data.table import write_tables
from paddle_alexnet.datasets.prepare.archives import find_archive, from_archive
from paddle_alexnet.datasets.prepare.sources import Record, find_classes, read_lines
from paddle_alexnet.system.errors import MissingFileError, UserError
from paddle_alexnet.system.files import atomic_folder
from paddle_alexnet.system.progress import progress

_CHUNK = 1 << 20  # bytes copied at a time

# The ten classes of the 2020 fluid script in its label order.
FLUID_CLASSES = (
    "n02091244 Ibizan hound",
    "n02114548 white wolf",
    "n02138441 meerkat",
    "n03584254 iPod",
    "n03075370 combination lock",
    "n09256479 coral reef",
    "n03980874 poncho",
    "n02174001 rhinoceros beetle",
    "n03770439 miniskirt",
    "n03773504 missile",
)


@dataclass(frozen=True)
class Prepared:
    """A prepared data set."""

    root: Path
    csv: Path
    classes: Path
    counts: pd.DataFrame  # images by class (rows) and split (columns), with totals
    notes: tuple[str, ...]  # on unusual and skipped files of the source


def prepare(
    source: Path,
    output: Path,
    *,
    classes: Optional[ClassList] = None,
    synset_words: Optional[Path] = None,
    split: Sequence[float] = DEFAULT_SPLIT,
    seed: int = 0,
    group: Optional[str] = None,
    link: bool = False,
    follow_links: bool = False,
) -> Prepared:
    """Divide a source's images into splits and write them to a new folder.

    The folder gets `images/<label>/`, labels.csv and classes.txt. The same source and seed give the same bytes; more
    images leave the others' splits unchanged, except at the cuts. The source never changes.

    Args:
        classes: By default all, sorted by label; for an ILSVRC-2012 archive, FLUID_CLASSES.
        synset_words: File of lines `n01440764 tench, Tinca tinca` that names wnids.
        split: Percentages of SPLITS within each class.
        group: Column of a table, or a regular expression for file names; images of a group get the same split.
        link: Create symbolic links instead of copies.

    Raises:
        UserError: The source or an argument is invalid, or the output is not empty or cannot be written.
    """
    if "\0" in f"{source}{output}":
        raise UserError(f"{source}, {output}: a path must not have a NUL; choose another")
    if not source.exists():
        raise MissingFileError(f"{source}: source not found; give a folder, an archive or a .csv")
    if source.is_dir() and source.resolve() in output.resolve().parents:
        raise UserError(f"{output}: is inside the source {source}; choose a folder outside it")
    if seed < 0:
        raise UserError(f"seed {seed}: must be 0 or more; choose another")
    check_split(split)
    archive = find_archive(source)
    if archive and link:
        raise UserError(f"{archive}: images inside an archive cannot be linked; copy them")
    if archive and classes is None:
        classes = ClassList.from_lines(FLUID_CLASSES, "the default classes")
    words = _read_words(synset_words) if synset_words else {}

    with atomic_folder(output) as folder:
        found = from_archive(archive) if archive else find_classes(source, group=group, follow_links=follow_links)
        chosen, origins = _choose(found.classes, classes=classes, words=words, source=source)
        images = {label: list(found.classes[origin]) for label, origin in zip(labels_of(chosen), origins)}
        placed, of_splits = _place(images, proportions=split, seed=seed, group=group, source=source)
        for record, (filename, _, _) in progress(placed, what="prepare", total=len(placed)):
            _write_image(record, folder / filename, link=link)
        rows = [row for _, row in placed]
        write_tables(folder, rows=rows, classes=chosen)
    notes = (*found.notes, *of_splits)
    return Prepared(output, output / "labels.csv", output / "classes.txt", _count(rows, chosen), notes)


def parse_classes(text: str) -> ClassList:
    """Return the classes of a class list's file, or of comma-separated names and wnids."""
    if os.path.isfile(text):
        return ClassList.read(Path(text))
    if "," not in text:
        raise MissingFileError(f"classes {text}: file not found; give a class list, or two or more classes as a,b")
    return ClassList.from_lines([part.strip() for part in text.split(",") if part.strip()], "classes")


def labels_of(classes: ClassList) -> list[str]:
    """Return each class's label: its wnid, else its name."""
    return [wnid or name for wnid, name in zip(classes.wnids, classes.names)]


def _read_words(path: Path) -> dict[str, str]:
    words = {}
    for number, line in enumerate(read_lines(path), start=1):
        wnid, _, text = line.strip().partition(" ")
        if is_wnid(wnid) and text:
            words[wnid] = text.strip()
        elif line.strip():
            raise UserError(f"{path}: line {number} is {line!r}; use the form 'n01440764 tench, Tinca tinca'")
    return words


def _choose(
    found: Mapping[str, Iterable[Record]],
    *,
    classes: Optional[ClassList],
    words: Mapping[str, str],
    source: Path,
) -> tuple[ClassList, list[str]]:
    """Return the classes in output order, and the source's label of each."""
    if classes is None:  # all except empty ones
        labels = sorted(label for label, records in found.items() if records)
        classes = ClassList(tuple(labels), (None,) * len(labels))
    wanted = classes
    given = {wnid: name for name, wnid in zip(wanted.names, wanted.wnids) if wnid}
    words = {**imagenet_words(), **given, **words}
    called: dict[str, list[str]] = {}
    for label in found:
        text = words.get(label, label)
        for name in {label, text, text.split(",")[0].strip()}:
            called.setdefault(name, []).append(label)
    lines: list[str] = []
    origins: list[str] = []
    for name, wnid in zip(wanted.names, wanted.wnids):
        exact = [key for key in (wnid, name) if key is not None and key in found]
        labels = exact[:1] or called.get(name, [])
        if not labels:
            near = nearest(name, called)
            shown = f"{wnid} ({name})" if wnid else name
            guess = (
                f"did you mean {near}?"
                if near
                else f"it has {', '.join(sorted(found)[:10])}" + " …" * (len(found) > 10)
            )
            raise UserError(f"{source}: has no class {shown}; {guess}")
        if len(labels) > 1:
            raise UserError(f"{source}: {' and '.join(labels)} are both called {name}; give the wnid")
        key = labels[0] if is_wnid(labels[0]) else wnid
        lines.append(f"{key} {words.get(key, name)}" if key else name)
        origins += labels
    if len(lines) < 2:
        taken = f"only {origins[0]}" if origins else "none"
        raise UserError(f"{source}: {taken} of its {len(found)} classes is selected; choose two or more")
    return ClassList.from_lines(lines, str(source)), origins


def _place(
    images: Mapping[str, Sequence[Record]],
    *,
    proportions: Sequence[float],
    seed: int,
    group: Optional[str],
    source: Path,
) -> tuple[list[tuple[Record, tuple[str, str, str]]], list[str]]:
    """Return each record with its row of labels.csv (filename, label, split), and notes on divided splits."""
    asked = {record.split for records in images.values() for record in records}
    for label, records in images.items():
        if not records:
            raise UserError(f"{source}: class {label} has no images; remove it from the classes")
        if len(asked) > 1 and all(record.split != "train" for record in records):
            raise UserError(f"{source}: class {label} has no training images; remove it from the classes")
    group_of = _grouping(group)
    pairs = [
        (label, record)
        for label, records in images.items()
        for record in sorted(records, key=lambda record: (str(record.split), record.name, record.file))
    ]
    groups = [group_of(label, record) for label, record in pairs]
    splits = [""] * len(pairs)
    notes = []
    for split in sorted(asked, key=str):
        pool = [index for index, (_, record) in enumerate(pairs) if record.split == split]
        among = open_to(split, asked)
        pictures = [(pairs[index][0], groups[index]) for index in pool]
        drawn = draw_splits(pictures, among=among, proportions=proportions, seed=seed)
        for index, name in zip(pool, drawn):
            splits[index] = name
        if split is not None and len(among) > 1:
            sizes = " and ".join(f"{drawn.count(name)} {name}" for name in among)
            notes.append(f"divided: the source's {len(pool)} {split} images, into {sizes}")
    torn = sorted({name for name, count in Counter(name for name, _ in set(zip(groups, splits))).items() if count > 1})
    if torn:
        notes.append(f"groups: {len(torn)} span several splits of the source, such as {torn[0]}")
    placed = []
    taken: dict[str, set[str]] = {label: set() for label in images}
    for (label, record), split in zip(pairs, splits):
        name = _free_name(unicodedata.normalize("NFC", record.name), taken[label])
        placed.append((record, (f"images/{label}/{name}", label, split)))
    return placed, notes


def _grouping(group: Optional[str]) -> Callable[[str, Record], str]:
    """Return a function from label and record to the image's group; without `group`, each image is its own."""
    try:
        pattern = re.compile(group or "")
    except re.error as error:
        raise UserError(f"group {group!r}: must be a column or a regular expression ({error}); correct it") from None

    def group_of(label: str, record: Record) -> str:
        if record.group is not None:
            return record.group
        name = unicodedata.normalize("NFC", record.path or record.name)
        if group is None:
            return f"{record.split}/{label}/{name}"
        match = pattern.search(name)
        if not match:
            raise UserError(f"group {group!r}: not found in the name {name!r}; use a pattern that matches every name")
        return next((part for part in match.groups() if part is not None), match.group())

    return group_of


def _free_name(name: str, taken: set[str]) -> str:
    """Return the name with a number if train/ and val/ both have an image of this name."""
    stem, suffix = os.path.splitext(name)
    number = 1
    while name in taken:
        number += 1
        name = f"{stem}_{number}{suffix}"
    taken.add(name)
    return name


def _write_image(record: Record, target: Path, *, link: bool) -> None:
    """Copy or link an image. Raises OSError if the copy is incomplete."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if link:
        target.symlink_to(record.file.absolute())
        return
    offset, size = record.span or (0, record.file.stat().st_size)
    with record.file.open("rb") as original, target.open("xb") as copy:
        original.seek(offset)
        left = size
        while left and (chunk := original.read(min(left, _CHUNK))):
            left -= copy.write(chunk)
    if left or target.stat().st_size != size:
        raise OSError(f"only {target.stat().st_size:,} of {size:,} bytes of {record.name}")


def _count(rows: Sequence[tuple[str, str, str]], classes: ClassList) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["filename", "label", "split"])
    counts = pd.crosstab(table["label"], table["split"])
    counts = counts.reindex(index=labels_of(classes), columns=list(SPLITS), fill_value=0)
    counts = counts.set_axis(classes.lines()).rename_axis(columns=None)
    counts["total"] = counts.sum(axis=1)
    return pd.concat([counts, counts.sum().to_frame("total").T])
