"""The image files that paths mean."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from paddle_alexnet.data.formats import IMAGE_SUFFIXES
from paddle_alexnet.data.tree import Tree, say_notes
from paddle_alexnet.system.errors import UserError


def find_images(paths: Sequence[Path]) -> list[Path]:
    """The images that paths mean: a file is itself, a folder every image below it in order of name.

    Hidden files and folders are left out, such as the `._NAME` that a Mac writes beside each image; what else is left
    out is logged. An image that is named twice is there once. Raises UserError for a path that is not there or a folder
    without images.
    """
    found: dict[str, Path] = {}  # by absolute path, in order
    for path in paths:
        if os.path.isdir(path):  # False, not an error, for a name that is too long
            tree = Tree(path, as_text=False)
            inside = sorted(path / name for name in tree.images_within(path))
            if not inside:
                kinds = ", ".join(sorted(IMAGE_SUFFIXES))
                raise UserError(f"{path}: no images in this folder ({kinds}){tree.heic_remedy()}")
            say_notes(path, tree.notes_of_files())
        elif os.path.isfile(path):
            inside = [path]
        else:
            raise UserError(f"{path}: no such image or folder")
        for image in inside:
            found.setdefault(os.path.abspath(image), image)
    return list(found.values())


def spread(count: int, most: int) -> np.ndarray:
    """Which of `count` images to take where at most `most` are wanted: from the first to the last, evenly."""
    return np.linspace(0, count - 1, min(most, count)).astype(int)
