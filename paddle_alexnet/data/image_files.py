"""Image files below given paths."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from paddle_alexnet.data.tree import Tree, say_notes
from paddle_alexnet.system.errors import MissingFileError


def find_images(paths: Sequence[Path]) -> list[Path]:
    """Return the named files and every image below the named folders, sorted by name within a folder, each once.

    Hidden files are skipped, such as macOS's `._NAME`; other skipped files are logged.

    Raises:
        UserError: A path does not exist, or a folder has no images.
    """
    found: dict[str, Path] = {}  # by absolute path, in order
    for path in paths:
        if os.path.isdir(path):  # False, not an error, for a name that is too long
            tree = Tree(path, as_text=False)
            inside = sorted(path / name for name in tree.images_within(path))
            if not inside:
                raise tree.no_images()
            say_notes(path, tree.notes_of_files())
        elif os.path.isfile(path):
            inside = [path]
        else:
            raise MissingFileError(f"{path}: image or folder not found; check the path")
        for image in inside:
            found.setdefault(os.path.abspath(image), image)
    return list(found.values())


def spread_indices(count: int, most: int) -> np.ndarray:
    """Return at most `most` evenly spaced indices from 0 to `count` - 1."""
    return np.linspace(0, count - 1, min(most, count)).astype(int)
