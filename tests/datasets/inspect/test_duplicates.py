"""Finding the same picture: in blocks as one by one, and as many of the changed copies as is said."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from paddle_alexnet.datasets.inspect import duplicates
from paddle_alexnet.datasets.inspect.duplicates import find_copies


def thumbnail(image: Image.Image, *, edge: float = 0.0) -> bytes:
    across, down = image.width * edge, image.height * edge
    box = (across, down, image.width - across, image.height - down)
    return image.convert("RGB").resize((16, 16), Image.Resampling.BOX, box=box).tobytes()


def find(images: list[Image.Image], splits: list[int], labels: list[int]) -> duplicates.Copies:
    return find_copies(
        thumbnails=[thumbnail(image) for image in images],
        centers=[thumbnail(image, edge=0.05) for image in images],
        splits=np.array(splits),
        labels=np.array(labels),
    )


@pytest.mark.parametrize("block", [1, 7, 2048])
def test_blocks_agree_with_comparing_pair_by_pair(monkeypatch, block):
    monkeypatch.setattr(duplicates, "_BLOCK", block)
    monkeypatch.setattr(duplicates, "_PAIRS", 5)
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 256, (60, 16, 16, 3)).astype(float)
    for copy in range(30, 60):  # more and more noise, mirrored every second one
        original = levels[copy - 30, :, :: (-1) ** copy]
        levels[copy] = original + rng.normal(0, 2.5 * (copy - 30), original.shape)
    levels = levels.clip(0, 255).round()
    splits, labels = rng.integers(0, 3, 60), rng.integers(0, 2, 60)
    bytes_of = [picture.astype(np.uint8).tobytes() for picture in levels]
    found = find_copies(thumbnails=bytes_of, centers=bytes_of, splits=splits, labels=labels)

    gray = levels @ (0.299, 0.587, 0.114)
    colors = levels - levels.mean(axis=3, keepdims=True)

    def alike(a: int, b: int, mirrored: int) -> bool:
        gray_b, colors_b = gray[b, :, ::mirrored], colors[b, :, ::mirrored]
        correlation = np.corrcoef(gray[a].ravel(), gray_b.ravel())[0, 1]
        of_colors = (colors[a] * colors_b).sum() / np.sqrt((colors[a] ** 2).sum() * (colors_b**2).sum())
        return correlation >= 0.97 and of_colors >= 0.8

    count = 0
    for a in range(60):
        same = [b for b in range(60) if b != a and (alike(a, b, 1) or alike(a, b, -1))]
        later = [b for b in same if splits[b] > splits[a]]
        other = [b for b in same if labels[b] != labels[a]]
        assert found.in_later_split[a] in (later or [-1])
        assert found.other_label[a] in (other or [-1])
        count += bool(later) + bool(other)
    assert count > 10


def test_only_few_enough_pictures_are_compared_within_a_split(monkeypatch):
    monkeypatch.setattr(duplicates, "MOST_WITHIN_SPLIT", 2)
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8))
    found = find([noise] * 5, splits=[0, 0, 0, 1, 1], labels=[0, 1, 0, 2, 3])
    assert found.in_later_split.tolist()[3:] == [-1, -1] and min(found.in_later_split[:3]) >= 3
    assert min(found.other_label) >= 0  # across the splits, or within the small one


def test_nothing_to_compare():
    assert [part.tolist() for part in find([], [], [])] == [[], []]
    flat = Image.new("RGB", (20, 20), "teal")
    assert find([flat, flat], [0, 1], [0, 1]).in_later_split.tolist() == [-1, -1]


# Of 100 copies so many are found at least.
CHANGES = {
    "a third": (lambda image: image.resize((image.width // 3, image.height // 3)), 100),
    "mirrored": (ImageOps.mirror, 100),
    "gray": (ImageOps.grayscale, 99),
    "dark": (lambda image: ImageEnhance.Brightness(image).enhance(0.5), 99),
    "border": (lambda image: ImageOps.expand(image, border=image.width // 20), 98),
    "cut": (
        lambda image: image.crop(
            (image.width // 20, image.height // 20, image.width * 19 // 20, image.height * 19 // 20)
        ),
        99,
    ),
}


@pytest.mark.skipif("ALEXNET_IMAGENETTE" not in os.environ, reason="ALEXNET_IMAGENETTE names no class folders")
def test_changed_photographs_are_found_and_different_ones_are_not():
    files = sorted(Path(os.environ["ALEXNET_IMAGENETTE"]).rglob("*.JPEG"))[::10][:100]
    images = [Image.open(file).convert("RGB") for file in files]
    count = len(images)
    for change, least in CHANGES.values():
        found = find([*images, *map(change, images)], [0] * count + [1] * count, [0] * 2 * count).in_later_split
        right = found[:count] == np.arange(count, 2 * count)
        assert right.sum() >= least * count // 100
        assert (found[:count][~right] == -1).all()
