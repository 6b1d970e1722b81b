"""Views as pictures: what is drawn, and where."""

from dataclasses import replace

import numpy as np
import paddle
import pytest
from helpers import metadata_of
from PIL import Image
from planted import GREEN, RED, SIDE, planted, red_and_green

from paddle_alexnet import UserError
from paddle_alexnet.explain import views
from paddle_alexnet.explain.drawing import WHOLE, Row, Tile, colored, onto, overlay, scaled, sheet
from paddle_alexnet.network.alexnet import AlexNet

pytestmark = pytest.mark.usefixtures("tiny_preset")  # a preset `tiny`


@pytest.fixture(scope="module")
def subject():
    network, metadata = red_and_green()
    return views.look_at(network, metadata, planted({RED: (10, 60)}))


def test_an_image_is_looked_at_for_its_most_probable_class_or_for_another(subject):
    assert (subject.label, subject.pixels.shape, subject.image.shape) == (RED, (SIDE, SIDE, 3), (3, SIDE, SIDE))
    assert subject.probabilities.sum() == pytest.approx(1)
    assert subject.name.startswith("class 0 ")
    other = views.look_at(subject.network, subject.metadata, subject.pixels, label="class 1")
    assert other.label == GREEN
    with pytest.raises(UserError, match="not found in the model; name one of class 0, class 1"):
        views.look_at(subject.network, subject.metadata, subject.pixels, label="dog")


def test_the_strongest_maps_are_those_with_the_largest_mean(subject):
    found = views.strongest_maps(subject, 3)
    assert list(found) == [f"conv{n}" for n in range(1, 6)]
    assert all(maps[0].channel == RED and len(maps) == 3 for maps in found.values())
    assert found["conv5"][0].values.shape == (5, 5)


def test_the_overlay_is_bright_over_the_object_and_gray_elsewhere(subject):
    drawn = np.asarray(overlay(subject.original, views.heat(subject))).astype(int)
    spread = drawn.max(axis=2) - drawn.min(axis=2)
    assert spread[10:38, 60:88].mean() > 60
    assert spread[60:, :30].max() < 5


def test_lrn_view_is_drawn_only_if_the_network_has_lrn():
    paddle.seed(0)
    network = AlexNet("small", 3)
    network.eval()
    pixels = np.random.default_rng(0).integers(0, 256, (131, 131, 3)).astype(np.uint8)
    subject = views.look_at(network, metadata_of(network), pixels)
    drawn = views.draw_normalization(subject, count=2)
    three_rows_each = 2 * 3 * 180
    assert drawn.height == pytest.approx(three_rows_each, rel=0.1)
    bare = AlexNet("small", 3, lrn="none")
    bare.eval()
    assert views.draw_normalization(views.look_at(bare, metadata_of(bare), pixels)) is None


def test_the_filters_are_those_of_the_first_convolution(subject):
    drawn = np.asarray(views.filters(subject.network))
    assert drawn.shape == (44, 4 * (16 * 12 - 1), 4)  # a row of 8 filters of 11×11, four pixels a weight
    assert drawn[0, 0, 0] > 200 and drawn[0, 0, 1] < 100  # the first one is for red


def test_colors_go_from_dark_to_light():
    lightness = colored(np.linspace(0, 1, 20)[None]).astype(float)[0] @ (0.299, 0.587, 0.114)
    assert (np.diff(lightness) > 0).all() and lightness[0] < 5 and lightness[-1] > 230


def test_scaling_keeps_zero_dark_and_survives_nothing():
    np.testing.assert_allclose(scaled(np.array([-1.0, 0, 2, 4])), [0, 0, 0.5, 1])
    np.testing.assert_allclose(scaled(np.array([0.0, 2]), top=4), [0, 0.5])
    assert not scaled(np.zeros((2, 2))).any()


def test_a_map_lies_on_the_part_of_the_image_that_the_network_sees():
    values = np.array([[0.0, 1.0], [2.0, 3.0]])
    found = onto(values, (8, 6), (0.25, 0, 0.75, 1))  # 4 of the 8 columns
    assert found.shape == (6, 8) and found.dtype == np.float32
    assert np.isnan(found[:, [0, 1, 6, 7]]).all() and np.isfinite(found[:, 2:6]).all()
    np.testing.assert_allclose(found[0, 2:6], [0, 0.25, 0.75, 1], atol=1e-6)  # linear between the cells' centers
    np.testing.assert_allclose(found[:, 2], [0, 0, 2 / 3, 4 / 3, 2, 2], atol=1e-6)
    whole = Image.fromarray(values.astype(np.float32)).resize((7, 9), Image.Resampling.BILINEAR)  # another definition
    np.testing.assert_allclose(onto(values, (7, 9), WHOLE), np.asarray(whole), atol=1e-6)


@pytest.mark.parametrize(
    ("geometry", "resize", "turned"),
    [
        ("squash", None, False),
        ("squash", 150, True),
        ("crop", None, True),
        ("crop", 150, False),
        ("torchvision", 150, True),
        ("paddleclas", 150, False),
    ],
)
def test_heat_lies_over_the_object_in_the_original_image(tmp_path, geometry, resize, turned):
    """A red square in a photograph of another shape, which its camera stored lying on its side."""
    network, metadata = red_and_green()
    preprocess = replace(
        metadata.preprocess, geometry=geometry, resize=resize, orientation="exif" if turned else "stored"
    )
    photo = np.full((400, 600, 3), 110, np.uint8)
    photo[230:330, 320:420] = (230, 40, 40)
    stored, exif = Image.fromarray(photo), Image.Exif()
    if turned:
        stored, exif[0x0112] = stored.transpose(Image.Transpose.ROTATE_90), 6  # to be turned clockwise
    stored.save(tmp_path / "photo.png", exif=exif)
    subject = views.look_at(network, replace(metadata, preprocess=preprocess), tmp_path / "photo.png", label="class 0")
    assert subject.original.size == (600, 400)
    np.testing.assert_array_equal(np.asarray(subject.original), photo)
    heat, hidden = views.heat(subject), views.find_occlusion(subject)
    for values in (heat, hidden.lost):
        found = views.on_original(subject, values)
        assert found.shape == (400, 600)
        weights = np.nan_to_num(found)
        row, column = (np.average(at, weights=weights) for at in np.indices(found.shape))
        cell = 400 / 5  # conv5 has 5×5 of them
        assert abs(row - 280) < cell / 2 and abs(column - 370) < cell / 2
    assert np.isnan(found).any() == (geometry != "squash" or resize is not None)
    for picture in (views.draw_grad_cam(subject, heat), views.draw_occlusion(subject, hidden)):
        drawn = np.asarray(picture).astype(int)
        assert drawn.shape[1] > 3 * 384 and 256 < drawn.shape[0] < 384  # in the photograph's proportions
        light = (abs(drawn - (252, 255, 164)).sum(axis=2) < 9).any(axis=0)
        assert light[-100:].any()  # the light end of the scale


def test_a_sheet_has_a_row_for_each_and_long_captions_are_cut():
    tile = Image.new("RGB", (5, 5), "red")
    one = sheet([Row("a", [Tile(tile)] * 3)])
    two = sheet([Row("a", [Tile(tile)] * 3), Row("b", [Tile(tile, "x" * 200)])])
    assert two.height > 1.9 * one.height and two.width == one.width
    assert np.asarray(two)[:, -8:].min() == 255  # nothing runs over the edge
