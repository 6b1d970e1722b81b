"""The pictures nearest in the last hidden layer."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from planted import GREEN, RED, planted, red_and_green

from paddle_alexnet import UserError
from paddle_alexnet.explain.neighbors import Gallery, choose_gallery, gather, hidden_features, read_gallery
from paddle_alexnet.runs.metadata import Origin

pytestmark = pytest.mark.usefixtures("tiny_preset")  # a preset `tiny`


def test_the_nearest_come_first_and_a_picture_is_not_its_own_neighbor():
    gallery = Gallery(tuple(map(Path, "abcd")), tuple("wxyz"), np.array([[0, 0], [3, 4], [1, 0], [0, 2]], np.float32))
    near = gallery.nearest(np.zeros(2), 3, but=Path("./a").absolute())
    assert [(one.path.name, one.label, one.distance) for one in near] == [("c", "y", 1), ("d", "z", 2), ("b", "x", 5)]
    assert gallery.nearest(np.zeros(2), 1)[0].path == Path("a")


def test_alike_is_what_the_network_takes_for_alike(tmp_path):
    network, metadata = red_and_green()
    places = [(5, 8), (60, 55), (30, 62), (50, 12)]
    pictures = []
    for n, place in enumerate(places):
        for color, name in ((RED, "red"), (GREEN, "green")):
            path = tmp_path / f"{name}{n}.png"
            Image.fromarray(planted({color: place})).save(path)
            pictures.append((path, name))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    pictures.insert(3, (tmp_path / "broken.png", "red"))
    gallery = gather(read_gallery(network, metadata.preprocess, pictures, batch_size=3))
    assert len(gallery.paths) == len(gallery.features) == 8
    asked = tmp_path / "red0.png"
    features = hidden_features(network, metadata.preprocess.batch(metadata.preprocess.pixels(asked)[None]))[0]
    near = gallery.nearest(features, 7, but=asked)
    assert [one.label for one in near] == ["red"] * 3 + ["green"] * 4
    assert asked not in [one.path for one in near]


def test_no_readable_picture_is_one_line(tmp_path):
    network, metadata = red_and_green()
    with pytest.raises(UserError, match="no image is readable"):
        gather(read_gallery(network, metadata.preprocess, [(tmp_path / "none.png", "red")]))


def test_a_gallery_is_spread_evenly_over_a_split(tmp_path):
    _, metadata = red_and_green()
    names = metadata.classes.names
    rows = [f"{n:02d}.png,{names[n % 2]},{'val' if n % 3 == 0 else 'train'}" for n in range(30)]
    (tmp_path / "labels.csv").write_text("\n".join(["filename,label,split", *rows]))
    for n in range(30):
        (tmp_path / f"{n:02d}.png").touch()
    metadata = replace(metadata, origin=Origin("a test's", data_root=str(tmp_path)))
    assert [path.name for path, _ in choose_gallery(metadata, split="val", most=3)] == ["00.png", "12.png", "27.png"]
    every = choose_gallery(metadata, split="train", most=1000)
    assert len(every) == 20 and every[0] == (tmp_path / "01.png", names[1])
