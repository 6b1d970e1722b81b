"""The image files that paths mean."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from paddle_alexnet.data.formats import IMAGE_SUFFIXES
from paddle_alexnet.errors import UserError


def find_images(paths: Sequence[Path]) -> list[Path]:
    """The images that paths mean: a file is itself, a folder every image below it in order of name.

    Hidden files and folders are left out, such as the `._NAME` that a Mac writes beside each image, and an image that
    is named twice is there once. Raises UserError for a path that is not there or a folder without images.
    """
    found: dict[str, Path] = {}  # by absolute path, in order
    for path in paths:
        if os.path.isdir(path):  # False, not an error, for a name that is too long
            inside = [below for below in sorted(path.rglob("*")) if _is_image(below, path)]
            if not inside:
                raise UserError(f"{path}: no images in this folder ({', '.join(sorted(IMAGE_SUFFIXES))})")
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


def _is_image(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return not hidden and path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
