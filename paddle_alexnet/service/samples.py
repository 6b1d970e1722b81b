"""Sample images of the web page."""

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from paddle_alexnet.data.demo import demo_picture, is_demo
from paddle_alexnet.data.preprocess import decode_at, exif_orientation, open_image, scales_within, to_rgb
from paddle_alexnet.data.table import read_table
from paddle_alexnet.runs.metadata import Metadata
from paddle_alexnet.system.errors import UserError

_SIDE = 480  # pixels, at most


class Sample(NamedTuple):
    """A JPEG file and its label."""

    label: str
    content: bytes


def samples(metadata: Metadata, count: int) -> list[Sample]:
    """Return at most `count` images of the val split of the model's data set, of as many classes as possible.

    If the data set is not found, return drawn images for a model of the demo set, else none.
    """
    try:
        table = read_table(*metadata.origin.dataset(), metadata.classes)
        rows = table.rows("val")
    except UserError:
        return _drawn(metadata, count) if is_demo(metadata.classes) else []
    shuffled = np.random.default_rng(0).permutation(rows)
    _, first = np.unique(table.labels[shuffled], return_index=True)
    chosen = shuffled[np.sort(first)[:count]]  # one image per class
    chosen = [*chosen, *(row for row in shuffled if row not in set(chosen))][:count]
    found = []
    for row in chosen:
        content = _reduced(table.root / table.filenames[row])
        if content:
            found.append(Sample(table.classes.names[table.labels[row]], content))
    return sorted(found)


def _drawn(metadata: Metadata, count: int) -> list[Sample]:
    names = metadata.classes.names
    return sorted(
        Sample(names[n % len(names)], _jpeg(demo_picture(names[n % len(names)], seed=n))) for n in range(count)
    )


def _reduced(path: Path) -> bytes:
    """Return a small upright image as a JPEG file, or nothing if the image is unreadable."""
    try:
        with open_image(path) as image:
            scale = max(s for s in scales_within(image) if s == 1 or min(image.size) // s >= _SIDE)
            turn = exif_orientation(image)
            decode_at(image, scale)
            rgb = to_rgb(image, turn=turn)
        rgb.thumbnail((_SIDE, _SIDE))
        return _jpeg(rgb)
    except Exception:  # a damaged file may raise anything
        return b""


def _jpeg(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=90)
    return stream.getvalue()
