"""Inspecting a data set: every fault planted and found, the cleaned table, the contact sheet, real photographs."""

import hashlib
import io
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Optional

import numpy as np
import pandas as pd
import pytest
from helpers import assert_user_error, run_tool
from PIL import Image, ImageEnhance, ImageOps

from paddle_alexnet.data.findings import KINDS, Finding, dropped_lines, faults, format_findings
from paddle_alexnet.data.table import read_table
from paddle_alexnet.datasets.inspect.contact_sheet import draw_sheet
from paddle_alexnet.datasets.inspect.inspection import check_outputs, fix, format_inspection, inspect
from paddle_alexnet.datasets.prepare.preparation import prepare
from paddle_alexnet.system.errors import UserError

CLASSES = ("cat", "dog", "owl")
SPLITS = ["train"] * 4 + ["val"] * 2 + ["test"] * 2
HEADER = ",filename,label,split"


def picture(seed: int, *, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """Soft patches of color, others for another seed."""
    patches = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(patches).resize(size, Image.Resampling.BICUBIC)


def encode(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def png(width: int, height: int, *, depth: int = 8, pixels: bytes = b"") -> bytes:
    """An RGB PNG of any size and depth, whatever it takes to write one."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def animation() -> bytes:
    return encode(picture(900), "WEBP", save_all=True, append_images=[picture(901), picture(902)], duration=100)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A sound set: 3 classes of 4, 2 and 2 images, in lines 2 to 25."""
    root = tmp_path / "set"
    rows = [HEADER]
    for index, label in enumerate(CLASSES):
        (root / "images" / label).mkdir(parents=True)
        for number, split in enumerate(SPLITS):
            name = f"images/{label}/{number}.jpg"
            (root / name).write_bytes(encode(picture(10 * index + number), quality=95))
            rows.append(f"{len(rows) - 1},{name},{label},{split}")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    (root / "classes.txt").write_text("".join(f"{label}\n" for label in CLASSES))
    return root


def add(root: Path, row: str, data: Optional[bytes] = None) -> int:
    """Append a row of filename, label and split, with its file, and return its line."""
    csv = root / "labels.csv"
    lines = csv.read_text().splitlines()
    csv.write_text("\n".join([*lines, f"{len(lines) - 1},{row}"]) + "\n")
    if data is not None:
        path = root / row.split(",")[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return len(lines) + 1


def replace(root: Path, old: str, new: str) -> None:
    text = (root / "labels.csv").read_text()
    assert old in text
    (root / "labels.csv").write_text(text.replace(old, new))


def found(root: Path, **options: int) -> list[Finding]:
    return inspect(root, top_k=options.pop("top_k", 1), **options).findings


def tree(root: Path) -> dict[str, str]:
    return {
        str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in root.rglob("*") if p.is_file()
    }


def test_sound_set(root):
    (root / "images" / "cat" / "0.jpg").write_bytes(encode(picture(0, size=(100, 40)).convert("L"), quality=95))
    inspection = inspect(root)
    assert inspection.findings == []
    assert inspection.counts.to_numpy().tolist() == [[4, 2, 2]] * 3
    text = format_inspection(inspection)
    assert "3 classes, 24 valid rows" in text
    assert [line.split()[-3:] for line in text.splitlines() if line.startswith(("width", "height"))] == [
        ["64", "64", "100"],
        ["40", "48", "48"],
        ["1.33", "1.33", "2.50"],
    ]
    assert "formats: JPEG 24\nmodes: RGB 23, L 1" in text


def test_inspected_color_statistics_weight_every_image_alike(root):
    (root / "images" / "cat" / "0.jpg").write_bytes(encode(picture(0, size=(640, 480))))  # large and counts once
    small = []
    for label in CLASSES:
        for number in range(4):
            with Image.open(root / "images" / label / f"{number}.jpg") as image:
                small.append(np.asarray(image.resize((64, 48), Image.Resampling.BOX)) / 255)
    expected = [*np.mean(small, axis=(0, 1, 2)), *np.std(small, axis=(0, 1, 2))]
    line = next(x for x in format_inspection(inspect(root)).splitlines() if x.startswith("train  0"))
    np.testing.assert_allclose([float(number) for number in line.split()[1:]], expected, atol=1.5e-3)


JPEG = encode(picture(500), quality=95)
DEEP = np.random.default_rng(0).integers(0, 65536, (40, 40)).astype(np.uint16)
FILES: dict[str, tuple[str, bytes, str]] = {
    "truncated": ("t.jpg", JPEG[: len(JPEG) // 2], "truncated (image file is truncated"),
    "truncated header": ("t.jpg", JPEG[:100], "truncated ("),
    "unreadable": ("u.jpg", b"not a picture", "unreadable (not an image)"),
    "unreadable empty": ("u.jpg", b"", "unreadable (not an image)"),
    "size bomb": ("s.png", png(30_000, 30_000), "30000×30000 pixels require 3,600 MB"),
    "size suspect": ("s.png", png(12_000, 11_000), "12000×11000 pixels"),
    "size wide": ("s.png", png(65_501, 1, pixels=bytes(196_504)), "65501×1 pixels"),
    "tiny": ("t.png", encode(picture(506, size=(2, 1)), "PNG"), "2×1 pixels"),
    "tiny wide": ("t.png", encode(picture(507, size=(300, 7)), "PNG"), "300×7 pixels"),
    "flat": ("f.jpg", encode(Image.new("RGB", (64, 48), "teal")), "a single color"),
    "unreadable zero": ("s.png", png(0, 4), "unreadable"),
    "extension": ("e.jpg", encode(picture(501), "PNG"), "PNG by its content, named .jpg"),
    "extension none": ("e", JPEG, "JPEG by its content, named without an extension"),
    "cmyk": ("c.jpg", encode(picture(502).convert("CMYK")), "CMYK"),
    "16-bit": ("d.png", encode(Image.fromarray(DEEP), "PNG"), "mode I;16"),
    "16-bit tiff": ("d.tif", encode(Image.fromarray(DEEP), "TIFF"), "mode I;16"),
    "16-bit color": ("d.png", png(8, 8, depth=16, pixels=(b"\0" + bytes(range(48))) * 8), "mode RGB"),
    "palette": ("p.png", encode(picture(503).quantize(16), "PNG"), "palette"),
    "animated": ("a.webp", animation(), "3 frames"),
    "alpha": ("a.png", encode(picture(504).convert("RGBA"), "PNG"), "transparency"),
    "turned": ("o.jpg", encode(picture(505), exif=turned(6)), "orientation 6"),
}


@pytest.mark.parametrize("case", FILES)
def test_faulty_file(root, case):
    name, data, detail = FILES[case]
    line = add(root, f"images/cat/{name},cat,train", data)
    [finding] = found(root)
    assert finding[:3] == (case.split()[0], line, f"images/cat/{name}")
    assert detail in finding.detail
    assert str(finding).startswith(f"line {line}: images/cat/{name}: ")


def test_unreadable_only_by_its_rights(root, monkeypatch):
    refused = root / "images" / "cat" / "0.jpg"
    read = Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        if path == refused:
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    assert found(root) == [Finding("unreadable", 2, "images/cat/0.jpg", "unreadable (Permission denied)")]


def test_broken_exif_does_not_spoil_a_picture(root, monkeypatch):
    def getexif(image: Image.Image) -> Image.Exif:
        raise SyntaxError("not a TIFF file")

    monkeypatch.setattr(Image.Image, "getexif", getexif)
    assert found(root) == []


ROWS: dict[str, tuple[str, str]] = {
    "missing": ("images/cat/gone.jpg,cat,train", "file not found"),
    "missing folder": ("elsewhere/0.jpg,cat,train", "file not found"),
    "missing name": (",cat,train", "has no file name"),
    "outside up": ("../x.jpg,cat,train", "leaves the data folder"),
    "outside deep": ("images/cat/../../../x.jpg,cat,train", "leaves the data folder"),
    "outside absolute": ("/etc/hostname,cat,train", "leaves the data folder"),
    "label": ("images/cat/new.jpg,cow,train", "label 'cow' is not in the class list"),
    "label empty": ("images/cat/new.jpg,,train", "label '' is not in the class list"),
    "split": ("images/cat/new.jpg,cat,dev", "split 'dev': use train, val, test"),
    "malformed": ("images/cat/new.jpg,cat,train,and more", "5 fields, the header has 4"),
    "malformed short": ("images/cat/new.jpg", "2 fields, the header has 4"),
    "repeated": ("images/cat/0.jpg,cat,train", "in train; the same as line 2, in train"),
    "repeated spelling": ("./images//cat/0.jpg,dog,train", "the same as line 2, in train, labeled 'cat' there"),
}


@pytest.mark.parametrize("case", ROWS)
def test_faulty_row(root, case):
    (root.parent / "x.jpg").write_bytes(JPEG)
    if "new.jpg" in ROWS[case][0]:
        (root / "images" / "cat" / "new.jpg").write_bytes(JPEG)
    line = add(root, ROWS[case][0])
    findings = [finding for finding in found(root) if finding.kind not in ("unlisted", "conflict")]
    assert [(f.kind, f.line) for f in findings] == [(case.split()[0], line)]
    assert ROWS[case][1] in findings[0].detail


def test_every_bad_row_is_found_with_its_line(root):
    add(root, 'images/cat/a.jpg,"cow\nand calf",train', JPEG)  # a field of two lines, then a blank one
    with (root / "labels.csv").open("a") as stream:
        stream.write("\n")
    line = add(root, "images/cat/gone.jpg,cow,other")
    findings = found(root)
    assert line == 29
    assert {(f.kind, f.line) for f in findings} == {("label", 27), ("label", 29), ("split", 29), ("missing", 29)}


def test_files_in_no_row(root):
    replace(root, "images/cat/0.jpg", "./images//cat/0.jpg")  # another spelling is no other file
    for name in ("images/extra.png", "images/.hidden.jpg", ".cache/x.jpg", "notes.txt", "images/cat/deep/y.JPG"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"")
    findings = found(root)
    assert [(f.kind, f.line, f.file) for f in findings] == [
        ("unlisted", 0, "images/extra.png"),
        ("unlisted", 0, "images/cat/deep/y.JPG"),
    ]


def test_linked_files_and_folders_are_there_and_told(root, tmp_path):
    (root / "images" / "cat").rename(tmp_path / "cat")
    (root / "images" / "cat").symlink_to(tmp_path / "cat")
    (root / "images" / "dog" / "0.jpg").rename(tmp_path / "dog.jpg")
    (root / "images" / "dog" / "0.jpg").symlink_to(tmp_path / "dog.jpg")
    (root / "images" / "owl" / "0.jpg").rename(root / "owl.bin")
    (root / "images" / "owl" / "0.jpg").symlink_to("../../owl.bin")  # within the folder
    [finding] = found(root)
    assert finding[:3] == ("link", 0, "") and finding.detail.startswith("9 images, the first in line 2, images/cat/0")
    assert faults([finding]) == []


def test_gaps(root):
    replace(root, "images/dog/4.jpg,dog,val", "images/dog/4.jpg,dog,train")
    replace(root, "images/dog/5.jpg,dog,val", "images/dog/5.jpg,dog,train")
    (root / "classes.txt").write_text("cat\ndog\nowl\nyak\n")
    assert [str(f) for f in found(root)] == ["class dog: no images in val", "class yak: no images"]
    replace(root, ",test", ",train")
    assert [(f.kind, f.detail) for f in found(root)][-1] == ("no-test", "split test: no images")
    replace(root, ",val", ",train")
    assert "split val: no images" in [f.detail for f in found(root)]


def test_empty_table(root):
    (root / "labels.csv").write_text(HEADER + "\n")
    inspection = inspect(root, top_k=1)
    assert {f.kind for f in inspection.findings} == {"gap", "no-test", "unlisted"}
    assert "0 valid rows" in format_inspection(inspection)
    assert draw_sheet(inspection, root.parent / "sheet.png").startswith("no contact sheet")


def test_top_k(root):
    assert inspect(root).findings == [] == found(root, top_k=2)
    for top_k in (3, 5):
        [finding] = found(root, top_k=top_k)
        assert str(finding) == f"top-{top_k} of 3 classes is always correct; report top-1"


def test_names_of_imagenet(root):
    for label, wnid in zip(CLASSES, ("n02091244", "n02114548", "n02138441")):
        replace(root, f"images/{label}/6.jpg", f"images/{label}/{wnid}_6.JPEG")
        (root / "images" / label / "6.jpg").rename(root / "images" / label / f"{wnid}_6.JPEG")
    [finding] = found(root)
    assert finding.kind == "held-out" and finding.detail.startswith("3 files, the first in line 8, ")
    assert faults([finding]) == []

    name = "images/cat/ILSVRC2012_val_00000001.JPEG"  # and now as in Imagenette, where they are swapped
    replace(root, "images/cat/0.jpg", name)
    (root / "images" / "cat" / "0.jpg").rename(root / name)
    findings = found(root)
    assert [f.kind for f in findings] == ["imagenet-val", "held-out"]
    assert findings[0].detail.startswith(f"1 files, the first in line 2, {name}: never evaluate")
    assert len(faults(findings)) == 1 and dropped_lines(findings) == set()


def test_accepted_kinds_are_no_faults(root, tmp_path):
    name = "images/cat/ILSVRC2012_val_00000001.JPEG"
    replace(root, "images/cat/0.jpg", name)
    (root / "images" / "cat" / "0.jpg").rename(root / name)
    arguments = (root, "--top-k", 1, "--sheet", "s.png", "--report", "r.csv")
    assert run_tool("inspect_data", *arguments, cwd=tmp_path).returncode == 1
    accepted = run_tool("inspect_data", *arguments, "--accept", "imagenet-val", cwd=tmp_path)
    assert accepted.returncode == 0
    assert "imagenet-val: ImageNet's validation set in the train split: 1 (accepted)\n" in accepted.stdout
    assert "\nimagenet-val,accepted,0," in (tmp_path / "r.csv").read_text()
    with pytest.raises(UserError, match="unknown kind of finding 'imagenet'; did you mean 'imagenet-val'"):
        inspect(root, accept=["imagenet"])


# Copies


def test_same_content(root):
    images = root / "images"
    shutil.copy(images / "cat" / "0.jpg", images / "dog" / "copy.jpg")
    line = add(root, "images/dog/copy.jpg,dog,train")
    finding, *conflicts = found(root)
    assert finding[:3] == ("duplicate", line, "images/dog/copy.jpg")
    assert finding.detail == "in train; the same as line 2, images/cat/0.jpg, in train, labeled 'cat' there"
    assert [str(conflict) for conflict in conflicts] == [
        f"line 2: images/cat/0.jpg: labeled 'cat'; line {line}, images/dog/copy.jpg, is labeled 'dog'",
        f"line {line}: images/dog/copy.jpg: labeled 'dog'; line 2, images/cat/0.jpg, is labeled 'cat'",
    ]


@pytest.mark.parametrize(
    ("first", "second", "dropped"), [(0, "test", 2), (0, "val", 2), (6, "val", 26), (4, "test", 6)]
)
def test_leaks_are_dropped_from_the_earlier_split(root, first, second, dropped):
    shutil.copy(root / "images" / "cat" / f"{first}.jpg", root / "images" / "cat" / "copy.jpg")
    add(root, f"images/cat/copy.jpg,cat,{second}")
    [finding] = found(root)
    assert finding[:2] == ("leak", dropped)


def test_leaks_of_one_file_in_three_splits(root):
    add(root, "images/cat/6.jpg,cat,train")
    add(root, "images/cat/6.jpg,cat,val")
    assert [f[:2] for f in found(root)] == [("leak", 27), ("leak", 26)]  # line 8 is in test


def recompress(image: Image.Image, scale: float, quality: int) -> bytes:
    size = round(image.width * scale), round(image.height * scale)
    return encode(image.convert("RGB").resize(size, Image.Resampling.LANCZOS), quality=quality)


def test_resized_and_recompressed_copies_are_found(demo_set, tmp_path):
    root = tmp_path / "demo"
    shutil.copytree(demo_set, root)
    assert found(root, top_k=5) == []
    table = pd.read_csv(root / "labels.csv", index_col=0)
    expected = {}
    for (line, row), (scale, quality) in zip(
        table[table["split"] == "test"].iterrows(), [(0.5, 60), (1.6, 90), (0.8, 25)] * 4
    ):
        with Image.open(root / row["filename"]) as image:
            data = recompress(image, scale, quality)
        expected[add(root, f"images/copy_{line}.jpg,{row['label']},train", data)] = line + 2
    findings = found(root)
    assert {f.kind for f in findings} == {"near-leak"}
    assert {f.line for f in findings} == set(expected)
    for finding in findings:
        assert f"the same as line {expected[finding.line]}, " in finding.detail


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "mirrored": ImageOps.mirror,
    "gray": lambda image: image.convert("L"),
    "dark": lambda image: ImageEnhance.Brightness(image).enhance(0.5),
    "contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.5),
    "border": lambda image: ImageOps.expand(image, border=(3, 2), fill="black"),
    "cut": lambda image: image.crop((3, 2, 61, 46)),
    "mirrored and cut": lambda image: ImageOps.mirror(image).crop((3, 2, 61, 46)),
    "squashed": lambda image: image.resize((40, 60)),
}


@pytest.mark.parametrize("copy", COPIES)
def test_changed_copies_in_another_split_are_found(root, copy):
    line = add(root, "images/cat/copy.jpg,cat,train", encode(COPIES[copy](picture(6)), quality=70))  # 6 is in test
    [finding] = found(root)
    assert finding[:2] == ("near-leak", line) and "the same as line 8, " in finding.detail


@pytest.mark.parametrize("copy", COPIES)
def test_changed_copies_under_another_label_are_found(root, copy):
    line = add(root, "images/owl/copy.jpg,owl,train", encode(COPIES[copy](picture(0)), quality=70))
    assert [f[:2] for f in found(root)] == [("conflict", 2), ("conflict", line)]


def test_near_copies_within_a_split_are_left_alone(root):
    add(root, "images/cat/copy.jpg,cat,train", recompress(picture(0), 2, 60))
    assert found(root) == []


def test_the_same_drawing_in_other_colors_is_no_copy(root):
    lines = np.zeros((48, 64, 3), np.uint8)
    lines[::16, :] = lines[1::16, :] = lines[:, ::12] = lines[:, 1::12] = 1
    for split, light, dark in (("train", (250, 60, 20), (20, 10, 120)), ("test", (90, 160, 90), (10, 50, 10))):
        drawing = np.where(lines, np.array(light, np.uint8), np.array(dark, np.uint8))
        add(root, f"images/cat/{split}.png,cat,{split}", encode(Image.fromarray(drawing), "PNG"))
    assert found(root) == []


def test_flat_pictures_are_no_copies(root):
    for size, color, split in (
        (30, "gray", "train"),
        (31, "gray", "val"),
        (32, "#818181", "test"),
        (33, "red", "val"),
    ):
        add(root, f"images/cat/{size}.png,cat,{split}", encode(Image.new("RGB", (size, size), color), "PNG"))
    assert {f.kind for f in found(root)} == {"flat"}


def test_damaged_jpeg_data(root):
    pytest.importorskip("simplejpeg")
    whole = encode(picture(700, size=(400, 300)), quality=95)
    spoilt = bytearray(whole)
    spoilt[-2000:-1980] = b"\xff\xd9" + bytes(18)
    assert Image.open(io.BytesIO(spoilt)).convert("RGB").size == (400, 300)  # Pillow goes over it
    add(root, "images/cat/whole.jpg,cat,train", whole)
    line = add(root, "images/cat/spoilt.jpg,cat,train", bytes(spoilt))
    assert [f[:2] for f in found(root)] == [("damaged", line)]


def test_rows_with_a_wrong_split_or_label_are_looked_into_too(root):
    first = add(root, "images/cat/a.jpg,cat,trian", JPEG[:100])
    second = add(root, "images/cat/b.png,cow,train", FILES["alpha"][1])
    assert {(f.kind, f.line) for f in found(root)} == {
        ("split", first),
        ("truncated", first),
        ("label", second),
        ("alpha", second),
    }


# The cleaned table


def spoil(root: Path) -> int:
    """Plant every fault that --fix mends and some that it cannot; the number of rows to drop."""
    images = root / "images" / "cat"
    for case in ("truncated", "unreadable", "size bomb", "size wide", "tiny", "flat"):
        name, data, _ = FILES[case]
        add(root, f"images/dog/{case.replace(' ', '_')}_{name},dog,train", data)
    for case in ("missing", "outside up", "repeated"):
        add(root, ROWS[case][0])
    for case in ("label", "split", "malformed"):
        add(root, ROWS[case][0].replace("new", case), JPEG)
    shutil.copy(images / "6.jpg", images / "copied.jpg")
    add(root, "images/cat/copied.jpg,cat,train")
    shutil.copy(images / "1.jpg", images / "twice.jpg")
    add(root, "images/cat/twice.jpg,cat,train")
    add(root, "images/owl/near.jpg,owl,val", recompress(picture(27), 3, 70))  # 27 is in test
    add(root, "images/owl/e.jpg,owl,train", FILES["extension"][1])
    add(root, "images/owl/conflict.jpg,owl,train", recompress(picture(2), 2, 70))  # 2 is a cat
    return 17


def test_fix(root):
    bad = spoil(root)
    before = tree(root)
    inspection = inspect(root, top_k=1)
    assert {f.kind for f in inspection.findings} >= {
        kind for kind, (effect, _) in KINDS.items() if effect == "drop"
    } - {"leak", "damaged"}
    said = fix(inspection)
    after = tree(root)
    written = {"labels.cleaned.csv", "labels.dropped.csv"}
    assert {name for name in after if after[name] != before.get(name)} == written
    assert f"without {bad} rows" in said and "truncated images: 1" in said and "rows with no file: 1" in said

    cleaned = root / "labels.cleaned.csv"
    table = read_table(root, cleaned)
    assert len(table.filenames) == 24 and "images/cat/6.jpg" in list(table.filenames)
    lines = (root / "labels.csv").read_text().splitlines()
    assert [line for line in lines if line in cleaned.read_text().splitlines()] == cleaned.read_text().splitlines()
    again = inspect(root, cleaned, top_k=1)
    assert {f.kind for f in again.findings} == {"extension"}
    assert fix(again) == "nothing to fix: no row must be dropped"
    with pytest.raises(UserError, match="never overwritten"):
        fix(inspection)
    assert tree(root) == after


def test_cleaned_data_stay_clean_in_every_way_of_going_on(root):
    add(root, "images/cat/broken.jpg,cat,train", JPEG[:100])
    fix(inspect(root, top_k=1))
    cleaned = root / "labels.cleaned.csv"
    add_to = cleaned.read_text()
    (root / "images" / "cat" / "flat.png").write_bytes(FILES["flat"][1])
    cleaned.write_text(add_to + "99,images/cat/flat.png,cat,train\n")
    fix(inspect(root, cleaned, top_k=1))  # a second time
    again = root / "labels.cleaned.cleaned.csv"
    again.rename(root / "labels.csv")  # and under the old name
    assert found(root) == []
    listed = pd.read_csv(root / "labels.dropped.csv")["filename"].tolist()
    assert listed == ["images/cat/broken.jpg", "images/cat/flat.png"]


@pytest.mark.parametrize("accepted", [False, True])
def test_fix_drops_both_of_two_labels_unless_told_otherwise(root, accepted):
    shutil.copy(root / "images" / "cat" / "0.jpg", root / "images" / "owl" / "copy.jpg")
    add(root, "images/owl/copy.jpg,owl,train")
    fix(inspect(root, top_k=1, accept=["conflict"] if accepted else []))
    rows = (root / "labels.cleaned.csv").read_text()
    assert ("images/cat/0.jpg" in rows) == accepted and "images/owl/copy.jpg" not in rows
    assert inspect(root, root / "labels.cleaned.csv", top_k=1).findings == []


def test_fix_leaves_the_columns_that_it_does_not_know(root):
    text = "split,note,filename,label\n" + "".join(
        f'{split},"1.10, ""quoted""\r\n",images/cat/{number}.jpg,cat\n' for number, split in enumerate(SPLITS)
    )
    (root / "labels.csv").write_bytes(f"\ufeff{text}train,,images/gone.jpg,cat\n".encode())
    fix(inspect(root))
    assert (root / "labels.cleaned.csv").read_bytes() == text.encode()


# Outputs


@pytest.mark.parametrize(
    ("option", "path", "message"),
    [
        ("sheet", "set/sheet.png", "is inside the data folder"),
        ("report", "set/images/report.csv", "is inside the data folder"),
        ("report", "other.csv", "is the table to read"),
        ("sheet", "sheet.jpg", "must have the suffix .png"),
        ("report", "report.txt", "must have the suffix .csv"),
        ("sheet", "nowhere/sheet.png", "folder not found"),
    ],
)
def test_outputs_are_checked_first(root, tmp_path, option, path, message):
    outputs = {"root": root, "csv": tmp_path / "other.csv", "sheet": tmp_path / "sheet.png", "report": None}
    check_outputs(**outputs, fixing=True)
    with pytest.raises(UserError, match=message):
        check_outputs(**{**outputs, option: tmp_path / path}, fixing=True)
    (tmp_path / "other.cleaned.csv").touch()
    with pytest.raises(UserError, match="never overwritten"):
        check_outputs(**outputs, fixing=True)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda root: (root / "labels.csv").unlink(), ["labels.csv", "must have labels.csv or"]),
        (lambda root: (root / "labels.csv").write_text("a,b\n"), ["column 'filename' not found", "'a', 'b'"]),
        (lambda root: (root / "labels.csv").write_text(""), ["labels.csv: must be a regular file"]),
        (
            lambda root: (root / "labels.csv").write_bytes(b"filename,label,split\n\xff,a,b\n"),
            ["CSV is unreadable"],
        ),
        (lambda root: (root / "classes.txt").write_text("cat\ncat\n"), ["classes.txt", "listed twice"]),
        (lambda root: shutil.rmtree(root), ["image folder not found"]),
    ],
)
def test_user_errors(root, change: Callable[[Path], None], parts):
    change(root)
    with pytest.raises(UserError) as error:
        inspect(root)
    assert "\n" not in str(error.value)
    for part in parts:
        assert part in str(error.value)


def test_findings_by_kind():
    findings = [Finding("missing", line, f"x{line}.jpg", "no such file") for line in range(2, 9)]
    findings += [Finding("alpha", 0, "odd\nname\udcff.png", "transparency")]
    assert format_findings(findings, at_most=2) == (
        "missing: rows with no file: 7\n  line 2: x2.jpg: no such file\n  line 3: x3.jpg: no such file\n"
        "  (and 5 more)\n"
        "alpha: images with transparency, which is ignored unless data.background is set: 1 (warning)\n"
        "  odd\\nname\\udcff.png: transparency\n"
        "7 findings"
    )


# The subcommand


def test_inspect_data_exits_with_0_or_2(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = tree(root)
    sound = run_tool("inspect-data", root)
    assert sound.returncode == 0
    assert "no findings" in sound.stdout and (tmp_path / "contact-sheet.png").is_file()
    assert tree(root) == before
    for arguments in (
        (tmp_path / "nothing",),
        (root, "--csv", "none.csv"),
        (root, "--workers", 0),
        (root, "--top-k", 0),
    ):
        assert_user_error(run_tool("inspect-data", *arguments))
    monkeypatch.chdir(root)  # where the default sheet would land on the data
    assert run_tool("inspect-data", ".").returncode == 2
    assert tree(root) == before


def test_inspect_data_with_findings_exits_with_1(root, tmp_path):
    spoil(root)
    before = tree(root)
    result = run_tool("inspect_data", root, "--fix", "--report", "all.csv", "--excel", "--sheet", "s.png", cwd=tmp_path)
    assert result.returncode == 1, result.stderr
    assert "truncated images: 1\n  line 26: images/dog/truncated_t.jpg: truncated (" in result.stdout
    written = {name for name, content in tree(root).items() if before.get(name) != content}
    assert written == {"labels.cleaned.csv", "labels.dropped.csv"}
    assert (tmp_path / "all.csv").read_bytes().startswith(b"\xef\xbb\xbfkind,")
    report = pd.read_csv(tmp_path / "all.csv")
    assert list(report.columns) == ["kind", "severity", "line", "file", "detail"]
    assert f"\n{(report['severity'] != 'warning').sum()} findings\n" in result.stdout


@pytest.mark.skipif("ALEXNET_IMAGENETTE" not in os.environ, reason="ALEXNET_IMAGENETTE names no class folders")
def test_photographs(tmp_path):
    source = Path(os.environ["ALEXNET_IMAGENETTE"])
    for folder in sorted(path for path in source.iterdir() if path.is_dir()):
        (tmp_path / "some" / folder.name).mkdir(parents=True)
        for image in sorted(folder.iterdir())[:10]:
            shutil.copy(image, tmp_path / "some" / folder.name)
    root = prepare(tmp_path / "some", tmp_path / "set").root
    assert faults(inspect(root).findings) == []
    table = pd.read_csv(root / "labels.csv", index_col=0)
    test = table[table["split"] == "test"]
    for number, (filename, label) in enumerate(zip(test["filename"], test["label"])):
        with Image.open(root / filename) as image:
            add(root, f"images/copy_{number}.jpg,{label},train", recompress(image, 0.5, 50))
    findings = faults(inspect(root).findings)
    assert {f.kind for f in findings} == {"near-leak"} and len(findings) == len(test) == 20
