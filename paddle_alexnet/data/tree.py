"""A folder with a folder of images for each class, read as rows without a CSV."""

import os
from pathlib import Path
from typing import Optional
from unicodedata import normalize

from paddle_alexnet.data.formats import IMAGE_SUFFIXES
from paddle_alexnet.data.splits import SPLIT_FOLDERS, draw_splits, open_to


def has_folders(root: Path) -> bool:
    """Whether there are folders that may be those of classes."""
    return bool(_folders(root))


def list_tree(root: Path) -> list[tuple[str, str, str]]:
    """Rows of (filename, label, split) for `root/<class>/**/<image>`, or for such trees in train, val and test.

    Hidden files do not count. What the folders leave open is divided as `prepare` does by default: each image keeps its
    split when others come, but for those at the cuts.
    """
    folders = {name: SPLIT_FOLDERS.get(name.lower()) for name in _folders(root)}
    classes: list[tuple[str, str, Optional[str]]]  # folder, label, the split that it is for
    # A class of vehicles may be called train too: then the images lie in that folder itself.
    if any(split == "train" and not _images(root / name, nested=False) for name, split in folders.items()):
        classes = [(f"{name}/{label}", label, s) for name, s in folders.items() if s for label in _folders(root / name)]
    else:
        classes = [(name, name, None) for name in folders]
    found = [
        (f"{folder}/{image}", normalize("NFC", label).strip(), split, normalize("NFC", image))
        for folder, label, split in classes
        for image in _images(root / folder)
    ]
    asked = {split for _, _, split, _ in found}
    rows = []
    for given in asked:
        of_split = [(filename, label, f"{given}/{label}/{name}") for filename, label, s, name in found if s == given]
        pictures = [(label, group) for _, label, group in of_split]
        drawn = draw_splits(pictures, among=open_to(given, asked), seed=0)
        rows += [(filename, label, split) for (filename, label, _), split in zip(of_split, drawn)]
    return sorted(rows)


def _folders(root: Path) -> list[str]:
    with os.scandir(root) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and _is_shown(entry.name))


def _images(folder: Path, *, nested: bool = True) -> list[str]:
    """The images in a folder and, if `nested`, in those within it, by their paths below it."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = filter(_is_shown, folders) if nested else []
        below = os.path.relpath(place, folder).replace(os.sep, "/")
        for name in names:
            if _is_shown(name) and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES:
                found.append(name if below == "." else f"{below}/{name}")
    return found


def _is_shown(name: str) -> bool:
    return not name.startswith(".") and name != "__MACOSX"
