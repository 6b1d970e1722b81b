"""The image files that paths mean."""

from collections.abc import Sequence
from pathlib import Path

from paddle_alexnet.data.preprocess import IMAGE_SUFFIXES
from paddle_alexnet.errors import UserError


def find_images(paths: Sequence[Path]) -> list[Path]:
    """The images that paths mean: a file is itself, a folder every image below it in order of name.

    Hidden files and folders are left out, such as the `._NAME` that a Mac writes beside each image, and an image that
    is named twice is there once. Raises UserError for a path that is not there or a folder without images.
    """
    found: dict[Path, None] = {}  # in order
    for path in paths:
        if path.is_dir():
            inside = [below for below in sorted(path.rglob("*")) if _is_image(below, path)]
            if not inside:
                raise UserError(f"{path}: no images in this folder ({', '.join(sorted(IMAGE_SUFFIXES))})")
            found.update(dict.fromkeys(inside))
        elif path.is_file():
            found[path] = None
        else:
            raise UserError(f"{path}: no such image or folder")
    return list(found)


def _is_image(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return not hidden and path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
