"""The contact sheet: pictures in their proportions, titles in any European script."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from paddle_alexnet.datasets.inspect.contact_sheet import draw_sheet
from paddle_alexnet.datasets.inspect.inspection import inspect


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four pictures of noise, one of them see-through, of which Pillow warns, and a red one; one class has none."""
    root = tmp_path / "set"
    root.mkdir()
    rows = ["filename,label,split"]
    for number in range(4):
        noise = np.random.default_rng(number).integers(0, 200, (30, 40, 3), dtype=np.uint8)
        image = Image.fromarray(noise)
        name = f"{number}.png"
        if number == 3:
            image.quantize(4).save(root / name, transparency=bytes(4))
        else:
            image.save(root / name)
        rows.append(f"{name},Äpfel,{'train' if number else 'val'}")
    Image.new("RGB", (10, 30), "red").save(root / "red.png")
    rows.append("red.png,Äpfel,test")
    (root / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (root / "classes.txt").write_text("Äpfel\nyak\n", encoding="utf-8")
    return root


def test_every_picture_in_its_proportions(root, tmp_path):
    assert draw_sheet(inspect(root), tmp_path / "sheet.png") == f"wrote {tmp_path / 'sheet.png'}"
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.format == "PNG"
        counts = dict((color, count) for count, color in sheet.convert("RGB").getcolors(sheet.width * sheet.height))
    assert counts[255, 0, 0] == 40 * 120  # the whole of it, once


def test_formats_that_start_programs_are_never_opened(root, tmp_path):
    """PostScript named .png makes Pillow start a `gs` from the PATH."""
    inspection = inspect(root)
    (root / "red.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    with pytest.raises(OSError, match="cannot identify image file"):
        draw_sheet(inspection, tmp_path / "sheet.png")
    assert ("unreadable", "red.png") in {(f.kind, f.file) for f in inspect(root, top_k=1).findings}
