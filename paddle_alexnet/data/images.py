"""The image files that paths mean."""

from collections.abc import Sequence
from pathlib import Path

from paddle_alexnet.data.preprocess import IMAGE_SUFFIXES
from paddle_alexnet.errors import UserError


def find_images(paths: Sequence[Path]) -> list[Path]:
    """The images that paths mean: a file is itself, a folder every image below it in order of name.

    Raises UserError for a path that is not there or a folder without images.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
            if not inside:
                raise UserError(f"{path}: no images in this folder ({', '.join(sorted(IMAGE_SUFFIXES))})")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise UserError(f"{path}: no such image or folder")
    return found
