"""A contact sheet with some images of every class."""

import math
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from paddle_alexnet.data.preprocess import decode_at, exif_orientation, open_image, scales_within, to_rgb
from paddle_alexnet.datasets.inspect.inspection import Inspection
from paddle_alexnet.plots.fonts import can_draw, draw_text, drawable_names, legend
from paddle_alexnet.system.output_files import save_image

_MOST_CLASSES = 1000
_GAP, _MARGIN, _TITLE, _LABEL = 4, 24, 44, 22  # pixels
_INK, _FAINT, _PAPER, _FRAME = "#1a1a1a", "#6b6b6b", "#f6f6f4", "#e2e2e2"


def draw_sheet(inspection: Inspection, path: Path) -> str:
    """Write the sheet as a PNG and return a message. Raises UserError if the file cannot be written.

    Images have their EXIF orientation applied as in training, but keep their aspect ratios.
    """
    rows = inspection.rows
    if not len(rows):
        return "no contact sheet: the data set has no valid image"
    counts = inspection.counts[:_MOST_CLASSES]
    pictures = 8 if len(counts) <= 20 and counts.sum(axis=1).max() > 4 else 4
    size = 120 if len(counts) <= 100 else 56
    room = pictures * (size + _GAP) - _GAP
    width, height = room + _MARGIN, _LABEL + size + _MARGIN
    columns = max(1, round(math.sqrt(1.5 * len(counts) * height / width)))  # about 3:2
    deep = -(-len(counts) // columns)
    columns = -(-len(counts) // deep)
    sheet = Image.new("RGB", (_MARGIN + columns * width, _MARGIN + _TITLE + deep * height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    first = f" (the first {len(counts)} shown)" if len(counts) < len(inspection.classes) else ""
    folder = inspection.root.resolve().name
    title = f"{f'{folder}: ' if can_draw(folder) else ''}{len(rows)} images, {len(inspection.classes)} classes{first}"
    draw_text(draw, (_MARGIN, _MARGIN), title, room=sheet.width - 2 * _MARGIN, size=20, ink=_INK)

    files = rows["file"].to_numpy()
    of_class = rows["class_index"].to_numpy()
    names = [str(name) for name in counts.index]
    for index, (name, (_, numbers)) in enumerate(zip(drawable_names(names), counts.iterrows())):
        left, top = _MARGIN + index // deep * width, _MARGIN + _TITLE + index % deep * height
        said = "   ".join(f"{split} {number}" for split, number in numbers.items()) if size > 100 else ""
        taken = draw_text(draw, (left + room, top), said, room=room, size=13, ink=_FAINT, right=True)
        draw_text(draw, (left, top), name, room=room - taken - _MARGIN, size=15, ink=_INK)
        of_this = files[of_class == index]
        chosen = np.unique(np.linspace(0, len(of_this) - 1, pictures).round().astype(int)) if len(of_this) else []
        for place, number in enumerate(chosen):
            small = _small(inspection.root / of_this[number], size)
            sheet.paste(small, (left + place * (size + _GAP), top + _LABEL))
    save_image(path, sheet)
    meaning = legend(names)
    return f"wrote {path}" + (f"\nno installed font has the names of all classes; {meaning}" if meaning else "")


def _small(path: Path, size: int) -> Image.Image:
    """Return an image padded to a square."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the findings cover Pillow's warnings
        with open_image(path) as image:
            scales = scales_within(image)
            decode_at(image, max([s for s in scales if min(image.size) // s >= 2 * size], default=scales[0]))
            rgb = to_rgb(image, turn=exif_orientation(image))
    return ImageOps.pad(rgb, (size, size), Image.Resampling.LANCZOS, color=_FRAME)
