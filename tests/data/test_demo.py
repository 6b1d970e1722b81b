"""The embedded demo set: balanced, reproducible, and not to be told by its colors."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from paddle_alexnet.data.classes import ClassList
from paddle_alexnet.data.demo import draw_demo, is_demo
from paddle_alexnet.system.errors import UserError


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    root = tmp_path_factory.mktemp("demo") / "set"
    draw_demo(root, images_per_class=40)
    return root


def read(root: Path) -> pd.DataFrame:
    return pd.read_csv(root / "labels.csv", index_col=0)


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_ten_balanced_classes_of_224_jpegs(demo):
    table = read(demo)
    assert sorted(table["label"].unique()) == sorted(ClassList.read(demo / "classes.txt").names)
    counts = pd.crosstab(table["label"], table["split"])
    assert len(counts) == 10
    assert (counts[["train", "val", "test"]] == [28, 4, 8]).all(axis=None)
    for filename in table["filename"][::37]:
        with Image.open(demo / filename) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (224, 224))


def test_mean_color_does_not_tell_the_classes(demo):
    table = read(demo)
    pixels = [np.asarray(Image.open(demo / filename)).mean(axis=(0, 1)) for filename in table["filename"]]
    color = (np.array(pixels) - np.mean(pixels, axis=0)) / np.std(pixels, axis=0)
    label = table["label"].astype("category").cat.codes.to_numpy()
    train = (table["split"] == "train").to_numpy()

    centroids = np.array([color[train & (label == c)].mean(axis=0) for c in range(10)])
    nearest = np.linalg.norm(color[:, None] - centroids, axis=2).argmin(axis=1)
    assert (nearest == label)[~train].mean() <= 0.25

    inputs = np.c_[color, np.ones(len(color))]
    weights = np.zeros((4, 10))
    for _ in range(500):  # multinomial logistic regression by gradient descent
        logits = inputs[train] @ weights
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        weights -= inputs[train].T @ (probabilities - np.eye(10)[label[train]]) / train.sum()
    assert ((inputs @ weights).argmax(axis=1) == label)[~train].mean() <= 0.25


def test_same_seed_same_bytes(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        draw_demo(tmp_path / name, images_per_class=3, seed=seed)
    a, b, c = (contents(tmp_path / name) for name in "abc")
    assert a == b
    assert a.keys() == c.keys()
    assert all(a[name] != c[name] for name in a if name.endswith(".jpg"))


def test_recognizes_its_own(demo):
    assert is_demo(ClassList.read(demo / "classes.txt"))
    assert not is_demo(ClassList.from_lines(["stripes", "waves"], "test"))


def test_overwrites_nothing(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UserError, match="not empty"):
        draw_demo(tmp_path, images_per_class=1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_interruption_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        draw_demo(tmp_path / "set", images_per_class=1)
    assert not list(tmp_path.iterdir())
