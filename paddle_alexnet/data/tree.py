"""Image folders: their images, classes, splits and skipped files, by the same rules for every subcommand."""

import logging
import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Optional
from unicodedata import category, normalize

from paddle_alexnet.data.findings import printable_name
from paddle_alexnet.data.formats import HEIC_REMEDY, HEIC_SUFFIXES, IMAGE_SUFFIXES
from paddle_alexnet.data.splits import SPLIT_NAMES, draw_splits, open_to
from paddle_alexnet.system.errors import UserError

_log = logging.getLogger(__name__)


class Tree:
    """A folder tree that lists each folder once and counts used and skipped files.

    Hidden files and folders are skipped, and so are links to folders inside the tree, which are duplicates or circular.

    Args:
        follow_links: If False, a link that leaves the tree is an error.
        as_text: Skip files whose names are not UTF-8, which a CSV cannot hold.
    """

    def __init__(self, root: Path, *, follow_links: bool = True, as_text: bool = True) -> None:
        self.root, self.follow_links, self.as_text = root, follow_links, as_text
        self._notes: list[str] = []
        self._listed: dict[Path, tuple[list[Path], list[str]]] = {}
        self._left_out: Counter[str] = Counter()
        self._examples: dict[str, Path] = {}
        self._empty: list[Path] = []
        self._circles: dict[Path, None] = {}
        self._roots = [root.resolve()]  # of the tree and of followed links
        self._followed: dict[Path, bool] = {}
        self._taken = self._nested = 0

    def folders(self, folder: Path) -> list[Path]:
        return self._list(folder)[0]

    def images(self, folder: Path) -> list[str]:
        return self._list(folder)[1]

    def images_within(self, folder: Path) -> list[str]:
        """Return the images below a folder as paths relative to the folder."""
        names = list(self.images(folder))
        for inner in self.folders(folder):
            if self._follows(inner):
                names += [f"{inner.name}/{name}" for name in self.images_within(inner)]
        return names

    def take(self, folder: Path) -> list[str]:
        """Return and count the images of a class folder; of the root only its direct images."""
        names = self.images(folder) if folder == self.root else self.images_within(folder)
        self._taken += len(names)
        self._nested += sum("/" in name for name in names)
        return names

    def class_folders(self) -> Optional[list[tuple[Path, str, Optional[str]]]]:
        """Return the class folders with label and split (None if open), or None without class folders.

        Class folders are in the root or in folders named train, val, test or similar.

        Raises:
            UserError: A folder's name cannot be a label.
        """
        folders = self.folders(self.root)
        splits = {folder: SPLIT_NAMES.get(folder.name.lower()) for folder in folders}
        # A class may be called train too (vehicles); then that folder holds images.
        train = [folder for folder, split in splits.items() if split == "train" and not self.images(folder)]
        found: list[tuple[Path, Optional[str]]] = []
        if train:
            others = {folder.name: split for folder, split in splits.items() if split and folder.name.lower() != split}
            if others:
                self._notes.append("used: " + ", ".join(f"{name} as {split}" for name, split in others.items()))
            if extra := ", ".join(folder.name for folder, split in splits.items() if not split):
                self._notes.append(f"left out: {extra}, not a split but beside {train[0].name}")
            for folder in (folder for folder, split in splits.items() if split and not self.folders(folder)):
                self._notes.append(f"left out: {folder.name}, {len(self.images(folder))} images without class folders")
                self._taken += len(self.images(folder))  # not counted again in `notes`
            found += [(inner, split) for folder, split in splits.items() if split for inner in self.folders(folder)]
        elif any(self.images_within(folder) for folder in folders):
            found += [(folder, None) for folder in folders]
        else:
            return None
        self._roots += [folder.resolve() for folder, _ in found if folder.is_symlink()]
        labels: list[tuple[Path, str, Optional[str]]]
        labels = [(folder, as_label(folder.name, printable_name(str(folder))), split) for folder, split in found]
        filled = {label for folder, label, _ in labels if self.images_within(folder)}
        self._empty += [folder for folder, label, _ in labels if label not in filled]
        return labels

    def notes(self) -> list[str]:
        """Return notes on unusual and skipped files; complete after `take` of every class folder."""
        notes = list(self._notes)
        if self._nested:
            notes.append(f"used: {self._nested} images in subfolders of class folders")
        if self._empty:
            notes.append(f"left out: {len(self._empty)} classes without images{self._such_as(self._empty)}")
        beside = sum(len(images) for _, images in self._listed.values()) - self._taken
        if beside:
            notes.append(f"left out: {beside} images outside class folders")
        return [*notes, *self.notes_of_files()]

    def notes_of_files(self) -> list[str]:
        """Return notes on skipped links and other files; hidden files alone need no note."""
        notes = []
        if self._circles:
            links = f"{len(self._circles)} links to folders inside the tree{self._such_as(self._circles)}"
            notes.append(f"left out: {links}")
        if set(self._left_out) - {"hidden"}:
            kinds = ", ".join(f"{kind} {count}" for kind, count in self._left_out.most_common(8))
            examples = [path for kind, path in self._examples.items() if kind != "hidden"]
            count = sum(self._left_out.values())
            notes.append(f"left out: {count} other files ({kinds}){self._such_as(examples)}{self._heic_remedy()}")
        return notes

    def no_images(self) -> UserError:
        """Return the error of a folder without images, with the remedy if HEIC files were skipped."""
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        return UserError(f"{self.root}: has no images ({kinds}); choose another folder{self._heic_remedy()}")

    def only_heic(self) -> bool:
        """Return whether the root has HEIC files that cannot be read here, and neither images nor subfolders."""
        return not self.images(self.root) and not self.folders(self.root) and bool(self._heic_remedy())

    def _heic_remedy(self) -> str:
        """Return how to read the skipped HEIC files, or an empty text without any."""
        found = HEIC_SUFFIXES.intersection(self._left_out)
        return f"; for {', '.join(sorted(found))}: {HEIC_REMEDY}" if found else ""

    def _such_as(self, paths: Iterable[Path]) -> str:
        return f", such as {printable_name(str(next(iter(paths)).relative_to(self.root)))}"

    def _follows(self, folder: Path) -> bool:
        if not folder.is_symlink():
            return True
        if folder not in self._followed:
            target = folder.resolve()
            again = any(target in (root, *root.parents) or root in target.parents for root in self._roots)
            self._followed[folder] = not again
            if again:
                self._circles[folder] = None
            else:
                self._roots.append(target)
        return self._followed[folder]

    def _list(self, folder: Path) -> tuple[list[Path], list[str]]:
        """Return the subfolders and the image names in a folder."""
        if folder not in self._listed:
            folders: list[Path] = []
            images: list[str] = []
            self._listed[folder] = folders, images
            try:
                with os.scandir(folder) as entries:
                    for entry in sorted(entries, key=lambda entry: entry.name):
                        self._sort_in(folder / entry.name, entry, folders, images)
            except OSError:
                self._leave_out("unreadable folders", folder)
        return self._listed[folder]

    def _sort_in(self, path: Path, entry: "os.DirEntry[str]", folders: list[Path], images: list[str]) -> None:
        suffix = os.path.splitext(entry.name)[1].lower()
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
            self._leave_out(suffix or "no suffix", path)
        elif self.as_text and not is_text(entry.name):
            self._leave_out("names that are not UTF-8", path)
        else:
            images.append(entry.name)

    def _leave_out(self, kind: str, path: Path) -> None:
        self._left_out[kind] += 1
        self._examples.setdefault(kind, path)


def is_hidden(name: str) -> bool:
    """Return whether a file is hidden, such as macOS's `._cat.jpg` and `__MACOSX`."""
    return name.startswith(".") or name == "__MACOSX"


def image_suffix(name: str) -> Optional[str]:
    """Return an image name's lowercase suffix, or None for other files and names that are not UTF-8."""
    suffix = os.path.splitext(name)[1].lower()
    return suffix if suffix in IMAGE_SUFFIXES and is_text(name) else None


def is_text(name: str) -> bool:
    """Return whether a CSV in UTF-8 can hold a file's name."""
    return not re.search("[\ud800-\udfff]", name)


def as_label(text: str, where: str) -> str:
    """Return a class name as a label in Unicode's composed form. Raises UserError for an impossible name."""
    label = normalize("NFC", text).strip()
    if re.search(r"[/\\]", label) or label.strip(". ") == "":
        raise UserError(f"{where}: label {text!r} must have text without slashes; rename it")
    if any(category(character) in ("Cc", "Cs", "Zl", "Zp") for character in label):
        raise UserError(f"{where}: label {text!r} must be UTF-8 without line breaks and control characters; rename it")
    return label


def check_inside(path: Path, source: Path) -> None:
    """Raise UserError for a symbolic link that leaves `source`, whose author could copy any of the user's files."""
    target = path.resolve()
    if source.resolve() not in (target, *target.parents):
        raise UserError(
            f"{path}: is a symbolic link to {target}, outside {source}; replace it by the file, "
            "or set follow_links if you trust the links"
        )


def say_notes(root: Path, notes: Iterable[str]) -> None:
    """Log notes on unusual and skipped files of a folder as warnings."""
    for note in notes:
        _log.warning(f"{root}: {note}")


def list_tree(root: Path) -> tuple[list[tuple[str, str, str]], list[str]]:
    """Return rows of (filename, label, split) for `root/[<split>/]<class>/**/<image>`, and notes on skipped files.

    Images without a split are divided by `draw_splits`, like the default of `prepare`.
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
