"""Folders of images: which images are in them, of which class and split, and what is left out.

Training, evaluation, prediction, `prepare-data` and `inspect-data` read folders here, by the same rules.
"""

import logging
import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Optional
from unicodedata import category, normalize

from paddle_alexnet.data.findings import shown
from paddle_alexnet.data.formats import HEIC_REMEDY, HEIC_SUFFIXES, IMAGE_SUFFIXES
from paddle_alexnet.data.splits import SPLIT_NAMES, draw_splits, open_to
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.files import resolved

_log = logging.getLogger(__name__)


class Tree:
    """The folders below a folder, each listed once; it counts what is taken and what is left out.

    Hidden files and folders are left out. A link to a folder is followed if it leads out of the tree: links within it
    name images that are taken anyway, or go in circles. Without `follow_links`, a link that leaves the tree is an
    error. With `as_text`, files whose names are not UTF-8, which no CSV can hold, are left out.
    """

    def __init__(self, root: Path, *, follow_links: bool = True, as_text: bool = True) -> None:
        self.root, self.follow_links, self.as_text = root, follow_links, as_text
        self._notes: list[str] = []
        self._listed: dict[Path, tuple[list[Path], list[str]]] = {}
        self._left_out: Counter[str] = Counter()
        self._examples: dict[str, Path] = {}
        self._empty: list[Path] = []
        self._circles: dict[Path, None] = {}
        self._roots = [resolved(root)]  # of the tree, and of the folders that links lead to
        self._followed: dict[Path, bool] = {}
        self._taken = self._nested = 0

    def folders(self, folder: Path) -> list[Path]:
        return self._list(folder)[0]

    def images(self, folder: Path) -> list[str]:
        return self._list(folder)[1]

    def images_within(self, folder: Path) -> list[str]:
        """The images in a folder and in the folders within it, by their paths below it."""
        names = list(self.images(folder))
        for inner in self.folders(folder):
            if self._follows(inner):
                names += [f"{inner.name}/{name}" for name in self.images_within(inner)]
        return names

    def take(self, folder: Path) -> list[str]:
        """The images of a class; those of a tree without classes are only the ones in the folder itself."""
        names = self.images(folder) if folder == self.root else self.images_within(folder)
        self._taken += len(names)
        self._nested += sum("/" in name for name in names)
        return names

    def class_folders(self) -> Optional[list[tuple[Path, str, Optional[str]]]]:
        """The folders of classes with their label and split, None for a split that is open; None if there are none.

        They lie in the root, or in folders called train, val, test or the like. Raises UserError for a name that is no
        label.
        """
        folders = self.folders(self.root)
        splits = {folder: SPLIT_NAMES.get(folder.name.lower()) for folder in folders}
        # A class of vehicles may be called train too: then the images lie in that folder itself.
        train = [folder for folder, split in splits.items() if split == "train" and not self.images(folder)]
        found: list[tuple[Path, Optional[str]]] = []
        if train:
            others = {folder.name: split for folder, split in splits.items() if split and folder.name.lower() != split}
            if others:
                self._notes.append("taken: " + ", ".join(f"{name} as {split}" for name, split in others.items()))
            if extra := ", ".join(folder.name for folder, split in splits.items() if not split):
                self._notes.append(f"left out: {extra}, beside {train[0].name} but no split")
            for folder in (folder for folder, split in splits.items() if split and not self.folders(folder)):
                self._notes.append(f"left out: {folder.name}, {len(self.images(folder))} images without class folders")
                self._taken += len(self.images(folder))  # counted here
            found += [(inner, split) for folder, split in splits.items() if split for inner in self.folders(folder)]
        elif any(self.images_within(folder) for folder in folders):
            found += [(folder, None) for folder in folders]
        else:
            return None
        self._roots += [resolved(folder) for folder, _ in found if folder.is_symlink()]
        labels: list[tuple[Path, str, Optional[str]]]
        labels = [(folder, as_label(folder.name, shown(str(folder))), split) for folder, split in found]
        filled = {label for folder, label, _ in labels if self.images_within(folder)}
        self._empty += [folder for folder, label, _ in labels if label not in filled]
        return labels

    def notes(self) -> list[str]:
        """Notes on what is not where it is usually, and on what was left out; complete once all is taken."""
        notes = list(self._notes)
        if self._nested:
            notes.append(f"taken: {self._nested} images in folders within their class's folder, as of that class")
        if self._empty:
            notes.append(f"left out: {len(self._empty)} classes without images{self._such_as(self._empty)}")
        beside = sum(len(images) for _, images in self._listed.values()) - self._taken
        if beside:
            notes.append(f"left out: {beside} images that lie in no class's folder")
        return [*notes, *self.notes_of_files()]

    def notes_of_files(self) -> list[str]:
        """Notes on links and other files that were left out; of hidden files only beside others."""
        notes = []
        if self._circles:
            links = f"{len(self._circles)} links to folders of the tree itself{self._such_as(self._circles)}"
            notes.append(f"left out: {links}")
        if set(self._left_out) - {"hidden"}:
            kinds = ", ".join(f"{kind} {count}" for kind, count in self._left_out.most_common(8))
            examples = [path for kind, path in self._examples.items() if kind != "hidden"]
            count = sum(self._left_out.values())
            notes.append(f"left out: {count} other files ({kinds}){self._such_as(examples)}{self.heic_remedy()}")
        return notes

    def heic_remedy(self) -> str:
        """Say how HEIC files are read, if there are any that are not."""
        found = HEIC_SUFFIXES.intersection(self._left_out)
        return f"; for {', '.join(sorted(found))}: {HEIC_REMEDY}" if found else ""

    def _such_as(self, paths: Iterable[Path]) -> str:
        return f", such as {shown(str(next(iter(paths)).relative_to(self.root)))}"

    def _follows(self, folder: Path) -> bool:
        if not folder.is_symlink():
            return True
        if folder not in self._followed:
            target = resolved(folder)
            again = any(target in (root, *root.parents) or root in target.parents for root in self._roots)
            self._followed[folder] = not again
            if again:
                self._circles[folder] = None
            else:
                self._roots.append(target)
        return self._followed[folder]

    def _list(self, folder: Path) -> tuple[list[Path], list[str]]:
        """The folders and the names of the images in a folder, without hidden ones."""
        if folder not in self._listed:
            folders: list[Path] = []
            images: list[str] = []
            self._listed[folder] = folders, images
            try:
                with os.scandir(folder) as entries:
                    for entry in sorted(entries, key=lambda entry: entry.name):
                        self._sort_in(entry, folders, images)
            except OSError:
                self._leave_out("folders that cannot be read", folder)
        return self._listed[folder]

    def _sort_in(self, entry: "os.DirEntry[str]", folders: list[Path], images: list[str]) -> None:
        path, suffix = Path(entry.path), os.path.splitext(entry.name)[1].lower()
        if is_hidden(entry.name):
            self._leave_out("hidden", path)
            return
        if os.path.islink(path) and not self.follow_links:
            check_inside(path, self.root)
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file()
        except OSError:  # a link to itself
            is_folder = is_file = False
        if is_folder:
            folders.append(path)
        elif not (is_file and suffix in IMAGE_SUFFIXES):
            self._leave_out(suffix or "no ending", path)
        elif self.as_text and not is_text(entry.name):
            self._leave_out("names that are not UTF-8", path)
        else:
            images.append(entry.name)

    def _leave_out(self, kind: str, path: Path) -> None:
        self._left_out[kind] += 1
        self._examples.setdefault(kind, path)


def is_hidden(name: str) -> bool:
    """Whether a system keeps a file for itself, as macOS does with `._cat.jpg` and what is in `__MACOSX`."""
    return name.startswith(".") or name == "__MACOSX"


def image_suffix(name: str) -> Optional[str]:
    """The ending of an image's name, None for other files and names that a CSV in UTF-8 cannot hold."""
    suffix = os.path.splitext(name)[1].lower()
    return suffix if suffix in IMAGE_SUFFIXES and is_text(name) else None


def is_text(name: str) -> bool:
    """Whether a CSV in UTF-8 can hold a file's name."""
    return not re.search("[\ud800-\udfff]", name)


def as_label(text: str, where: str) -> str:
    """A label from the name of a class, in Unicode's composed form. Raises UserError where it cannot be one."""
    label = normalize("NFC", text).strip()
    if re.search(r"[/\\]", label) or label.strip(". ") == "":
        raise UserError(f"{where}: label is {text!r}; write a name without slashes")
    if any(category(character) in ("Cc", "Cs", "Zl", "Zp") for character in label):
        raise UserError(f"{where}: label is {text!r}; write a name in UTF-8 without line breaks and control characters")
    return label


def check_inside(path: Path, source: Path) -> None:
    """Raises UserError for a symbolic link that leaves the source: who made it could copy any file of the reader's."""
    target = resolved(path)
    if resolved(source) not in (target, *target.parents):
        raise UserError(
            f"{path}: is a symbolic link to {target}, outside {source}; put the file itself there, "
            "or set follow_links if the links are your own"
        )


def say_notes(root: Path, notes: Iterable[str]) -> None:
    """Log what of a folder was left out, or taken otherwise than usual."""
    for note in notes:
        _log.warning(f"{root}: {note}")


def has_folders(root: Path) -> bool:
    """Whether there are folders that may be those of classes."""
    return bool(Tree(root).folders(root))


def list_tree(root: Path) -> tuple[list[tuple[str, str, str]], list[str]]:
    """Rows of (filename, label, split) for `root/<class>/**/<image>`, or for such trees in train, val and test.

    What the folders leave open is divided as `prepare` does by default: each image keeps its split when others come,
    but for those at the cuts. With the notes on what was left out.
    """
    tree = Tree(root)
    found = [
        (f"{folder.relative_to(root).as_posix()}/{image}", label, split, normalize("NFC", image))
        for folder, label, split in tree.class_folders() or ()
        for image in tree.take(folder)
    ]
    asked = {split for _, _, split, _ in found}
    rows = []
    for given in asked:
        of_split = [(filename, label, f"{given}/{label}/{name}") for filename, label, s, name in found if s == given]
        pictures = [(label, group) for _, label, group in of_split]
        drawn = draw_splits(pictures, among=open_to(given, asked), seed=0)
        rows += [(filename, label, split) for (filename, label, _), split in zip(of_split, drawn)]
    return sorted(rows), tree.notes()
