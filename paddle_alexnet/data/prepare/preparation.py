"""From labelled pictures, however they are stored, to images/, labels.csv and classes.txt."""

import difflib
import math
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np
import pandas as pd

from paddle_alexnet.data.classes import ClassList, imagenet_words, is_wnid
from paddle_alexnet.data.prepare.sources import Record, find_archive, find_classes, from_archive, read_lines
from paddle_alexnet.data.table import SPLITS
from paddle_alexnet.errors import UserError
from paddle_alexnet.files import atomic_folder
from paddle_alexnet.progress import progress

DEFAULT_SPLIT = (70.0, 10.0, 20.0)

# The ten classes of the 2020 fluid script, in the order of its label indices.
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
    """What was written where; `counts` has a row a class and a column a split, with totals."""

    root: Path
    csv: Path
    classes: Path
    counts: pd.DataFrame


def prepare(
    source: Path,
    output: Path,
    *,
    classes: Optional[ClassList] = None,
    synset_words: Optional[Path] = None,
    split: Sequence[float] = DEFAULT_SPLIT,
    seed: int = 0,
    link: bool = False,
) -> Prepared:
    """Sort a source's images into splits and write them to a new folder.

    That gets `images/<label>/`, labels.csv and classes.txt. Without `classes` every class is taken,
    sorted by label; of an ILSVRC-2012 archive, the ten of FLUID_CLASSES. `split` is the percentages of
    SPLITS, within each class. The same source and seed give the same bytes. Raises UserError for
    whatever cannot be used; the source is never changed.
    """
    if not source.exists():
        raise UserError(f"{source}: no such file or folder; --source takes a folder, an archive or a .csv")
    if source.is_dir() and source.resolve() in output.resolve().parents:
        raise UserError(f"{output}: lies inside the source {source}; choose a folder outside it")
    if seed < 0:
        raise UserError(f"--seed {seed}: give 0 or more")
    _check_split(split)
    archive = find_archive(source)
    if archive and link:
        raise UserError(f"{archive}: images inside an archive cannot be linked to; leave out --link")
    if archive and classes is None:
        classes = ClassList.from_lines(FLUID_CLASSES, "the default classes")
    words = _read_words(synset_words) if synset_words else {}

    with atomic_folder(output) as folder:
        found = from_archive(archive) if archive else find_classes(source)
        chosen, origins = _choose(found, classes=classes, words=words, source=source)
        images = {label: list(found[origin]) for label, origin in zip(labels_of(chosen), origins)}
        placed = _place(images, proportions=split, seed=seed, source=source)
        for record, (filename, _, _) in progress(placed, what="prepare", total=len(placed)):
            _write_image(record, folder / filename, link=link)
        rows = [row for _, row in placed]
        write_tables(folder, rows=rows, classes=chosen)
    return Prepared(output, output / "labels.csv", output / "classes.txt", _count(rows, chosen))


def parse_split(text: str) -> tuple[float, ...]:
    """Percentages from text such as `70,10,20`."""
    try:
        split = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"--split {text}: not numbers; give three percentages such as 70,10,20") from None
    _check_split(split)
    return split


def parse_classes(text: str) -> ClassList:
    """Classes from the name of a file with one a line, or from names and wnids between commas."""
    if os.path.isfile(text):
        return ClassList.read(Path(text))
    if "," not in text:
        raise UserError(f"--classes {text}: no such file; give a class list, or two or more classes as a,b")
    return ClassList.from_lines([part.strip() for part in text.split(",") if part.strip()], "--classes")


def labels_of(classes: ClassList) -> list[str]:
    """What stands in the label column: the wnid where there is one, else the name."""
    return [wnid or name for wnid, name in zip(classes.wnids, classes.names)]


def draw_splits(
    count: int,
    *,
    among: Sequence[str] = SPLITS,
    proportions: Sequence[float] = DEFAULT_SPLIT,
    rng: np.random.Generator,
) -> list[str]:
    """A split for each of `count` images, drawn from `among` in the proportions of SPLITS.

    Sizes are rounded so that they add up. A split that was given a share gets an image at least;
    where there are too few images for that, the first splits get them.
    """
    shares = {name: share for name, share in zip(SPLITS, proportions) if name in among and share > 0}
    shares = shares or {among[0]: 1.0}
    exact = count * np.array(list(shares.values())) / sum(shares.values())
    sizes = np.floor(exact + 1e-9).astype(int)
    sizes[np.argsort(sizes - exact, kind="stable")[: count - sizes.sum()]] += 1
    for i in range(min(count, len(sizes))):
        if sizes[i] == 0:
            largest = len(sizes) - 1 - np.argmax(sizes[::-1])
            sizes[i] += 1
            sizes[largest] -= 1
    return rng.permutation(np.repeat(list(shares), sizes)).tolist()


def write_tables(folder: Path, *, rows: Sequence[tuple[str, str, str]], classes: ClassList) -> None:
    """Write labels.csv from rows of (filename, label, split), and classes.txt in output order."""
    table = pd.DataFrame(rows, columns=["filename", "label", "split"])
    table.to_csv(folder / "labels.csv", encoding="utf-8", lineterminator="\n")
    (folder / "classes.txt").write_bytes("".join(f"{line}\n" for line in classes.lines()).encode())


def _check_split(split: Sequence[float]) -> None:
    if len(split) != 3 or not all(share >= 0 for share in split) or not math.isclose(sum(split), 100):
        shown = ",".join(f"{share:g}" for share in split)
        raise UserError(f"--split {shown}: give train,val,test as three percentages of 0 or more, 100 in all")


def _read_words(path: Path) -> dict[str, str]:
    words = {}
    for number, line in enumerate(read_lines(path), start=1):
        wnid, _, text = line.strip().partition(" ")
        if is_wnid(wnid) and text:
            words[wnid] = text.strip()
        elif line.strip():
            raise UserError(f"{path}: line {number} is {line!r}; write 'n01440764 tench, Tinca tinca'")
    return words


def _choose(
    found: Mapping[str, Iterable[Record]],
    *,
    classes: Optional[ClassList],
    words: Mapping[str, str],
    source: Path,
) -> tuple[ClassList, list[str]]:
    """The classes in output order, and the label that the source has for each."""
    wanted = ClassList(tuple(sorted(found)), (None,) * len(found)) if classes is None else classes
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
            near = difflib.get_close_matches(name, called, n=1, cutoff=0.0)[0]
            shown = f"{wnid} ({name})" if wnid else name
            raise UserError(f"{source}: has no class {shown}; the nearest of its {len(found)} is {near}")
        if len(labels) > 1:
            raise UserError(f"{source}: {' and '.join(labels)} are both called {name}; give the wnid")
        key = labels[0] if is_wnid(labels[0]) else wnid
        lines.append(f"{key} {words.get(key, name)}" if key else name)
        origins += labels
    if len(lines) < 2:
        taken = f"only {origins[0]}" if origins else "none"
        raise UserError(f"{source}: {taken} of its {len(found)} classes is taken; give two or more")
    return ClassList.from_lines(lines, str(source)), origins


def _place(
    images: Mapping[str, Sequence[Record]], *, proportions: Sequence[float], seed: int, source: Path
) -> list[tuple[Record, tuple[str, str, str]]]:
    """Each record beside its row of labels.csv: filename, label, split."""
    asked = {record.split for records in images.values() for record in records}
    placed = []
    for index, (label, records) in enumerate(images.items()):
        if not records:
            raise UserError(f"{source}: class {label} has no images; leave it out with --classes")
        if len(asked) > 1 and all(record.split != "train" for record in records):
            raise UserError(f"{source}: class {label} has no training images; leave it out with --classes")
        rng = np.random.default_rng([seed, index])
        taken: set[str] = set()
        for split in sorted(asked, key=str):
            pool = sorted((r for r in records if r.split == split), key=lambda r: (r.name, r.file))
            drawn = draw_splits(len(pool), among=_open_to(split, asked), proportions=proportions, rng=rng)
            for record, final in zip(pool, drawn):
                filename = f"images/{label}/{_free_name(record.name, taken)}"
                placed.append((record, (filename, label, final)))
    return placed


def _open_to(split: Optional[str], asked: Iterable[Optional[str]]) -> tuple[str, ...]:
    """The splits that the images of one may go to, where the source as a whole has those of `asked`.

    A source with a single split has none; one without val or test gets it from its train or val.
    """
    if split is None or set(asked) == {split}:
        return SPLITS
    if split == "train" and "val" not in asked:
        return ("train", "val")
    if split == "val" and "test" not in asked:
        return ("val", "test")
    return (split,)


def _free_name(name: str, taken: set[str]) -> str:
    """The name, numbered where train/ and val/ both have an image of that name."""
    stem, suffix = os.path.splitext(name)
    number = 1
    while name in taken:
        number += 1
        name = f"{stem}_{number}{suffix}"
    taken.add(name)
    return name


def _write_image(record: Record, target: Path, *, link: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if link:
        target.symlink_to(record.file.absolute())
    elif record.span is None:
        shutil.copyfile(record.file, target)
    else:
        offset, size = record.span
        with record.file.open("rb") as stream:
            stream.seek(offset)
            target.write_bytes(stream.read(size))


def _count(rows: Sequence[tuple[str, str, str]], classes: ClassList) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["filename", "label", "split"])
    counts = pd.crosstab(table["label"], table["split"])
    counts = counts.reindex(index=labels_of(classes), columns=list(SPLITS), fill_value=0)
    counts = counts.set_axis(classes.lines()).rename_axis(columns=None)
    counts["total"] = counts.sum(axis=1)
    return pd.concat([counts, counts.sum().to_frame("total").T])
