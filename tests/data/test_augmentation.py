"""Geometry, colours and chance: what an image goes through on its way to the network."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle
import pytest
from helpers import assert_user_error, run_tool, small_config
from PIL import Image
from pydantic import TypeAdapter

from paddle_alexnet import Predictor, UserError, train
from paddle_alexnet.config import DataConfig
from paddle_alexnet.data import augmentation as augment
from paddle_alexnet.data.dataset import Faults, LabelledImages
from paddle_alexnet.data.loader import Loader
from paddle_alexnet.data.preprocess import Preprocess, decode, encode_mean_image, whole
from paddle_alexnet.data.statistics import Statistics, measure, open_statistics
from paddle_alexnet.data.table import read_table
from paddle_alexnet.evaluation import evaluate
from paddle_alexnet.metrics import CrossEntropy, MeanLoss

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SQUASH = Preprocess(32, MEAN, STD)
CROP = Preprocess(48, MEAN, STD, geometry="crop", resize=64)
ALL = DataConfig(geometry="crop", resize=64, mirror=True, colour_jitter=0.4, pca_noise=0.5, erasing=0.5)


def draws(count: int, seed: int = 0) -> augment.Draws:
    return augment.draw(range(count), seed=seed, epoch=0)


def photo(width: int, height: int) -> Image.Image:
    """Something smooth with a different value everywhere."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    waves = [np.sin(7 * x + 3 * y), np.cos(5 * y - 2 * x), np.sin(9 * x * y)]
    return Image.fromarray((127.5 + 120 * np.stack(waves, axis=-1)).astype(np.uint8))


@pytest.fixture(scope="module")
def train_set(demo_set: Path) -> LabelledImages:
    return LabelledImages(read_table(demo_set), "train", CROP)


@pytest.fixture(scope="module")
def statistics(train_set: LabelledImages) -> Statistics:
    return measure(CROP.patch(train_set.path(i)).transpose(2, 0, 1) for i in range(len(train_set)))


@pytest.mark.parametrize("size", [(100, 80), (70, 130), (64, 64), (60, 40)])
def test_crop_is_the_centre_of_the_image_whose_shorter_side_was_rescaled(tmp_path, size):
    """Section 2 of the paper, in its two steps."""
    photo(*size).save(tmp_path / "a.png")
    scale = 64 / min(size)
    width, height = (round(scale * side) for side in size)
    rescaled = np.asarray(photo(*size).resize((width, height), Image.Resampling.BILINEAR), int)
    top, left = (height - 64) // 2, (width - 64) // 2
    by_hand = rescaled[top : top + 64, left : left + 64]
    patch = CROP.patch(tmp_path / "a.png").astype(int)
    assert np.abs(patch - by_hand).mean() < 1.5  # half a pixel where a side is odd
    np.testing.assert_array_equal(CROP(tmp_path / "a.png"), patch[8:56, 8:56])


def test_squash_is_one_resize_and_what_it_was_before_there_was_a_choice(tmp_path):
    photo(100, 80).save(tmp_path / "a.png")
    plain = photo(100, 80).resize((32, 32), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(SQUASH(tmp_path / "a.png"), np.asarray(plain))
    old = json.dumps({"image_size": 32, "mean": MEAN, "std": STD})
    assert TypeAdapter(Preprocess).validate_json(old) == SQUASH


def test_a_large_jpeg_is_decoded_at_a_fraction_and_looks_the_same(tmp_path, monkeypatch):
    photo(1601, 1203).save(tmp_path / "a.jpg", quality=95)
    full = np.asarray(photo(1601, 1203).resize((64, 64), Image.Resampling.BILINEAR), int)
    widths = []
    convert = Image.Image.convert
    monkeypatch.setattr(Image.Image, "convert", lambda image, mode: widths.append(image.width) or convert(image, mode))
    assert np.abs(decode(tmp_path / "a.jpg", 64, whole) - full).mean() < 1.5
    assert widths == [201]  # an eighth, still more than twice 64


def test_evaluation_training_without_chance_and_prediction_see_the_same(train_set):
    one = CROP.batch(np.stack([CROP(train_set.path(i)) for i in range(5)]))
    image, _ = next(iter(Loader(train_set, CROP, batch_size=5)))
    np.testing.assert_array_equal(image.numpy(), one)
    image, _ = next(iter(Loader(train_set, replace(CROP, resize=48), batch_size=5, changes=DataConfig())))
    squashed = replace(CROP, resize=48)
    np.testing.assert_array_equal(
        image.numpy(), squashed.batch(np.stack([squashed(train_set.path(i)) for i in range(5)]))
    )


@pytest.mark.parametrize("geometry", ["crop", "random_resized_crop"])
def test_chance_follows_from_seed_epoch_and_image_alone(train_set, statistics, geometry):
    """Not from the workers, the batches or the order; and no two epochs, seeds or images share theirs."""
    dataset = LabelledImages(train_set.table, "train", CROP)
    dataset.labels = np.arange(len(dataset))

    def epochs(seed: int, **settings: int) -> list[np.ndarray]:
        loader = Loader(
            dataset, CROP, seed=seed, changes=replace(ALL, geometry=geometry), statistics=statistics, **settings
        )
        result = []
        for _ in range(2):
            images = {int(n): i for image, label in loader for i, n in zip(image.numpy(), label.numpy())}
            result.append(np.stack([images[n] for n in range(len(dataset))]))
        return result

    first, second = epochs(1, batch_size=7, workers=1, shuffle=True)
    again, _ = epochs(1, batch_size=30, workers=5)
    other, _ = epochs(2, batch_size=7, workers=1, shuffle=True)
    np.testing.assert_array_equal(first, again)
    for different in (second, other):
        assert (first != different).any(axis=(1, 2, 3)).all()
    uniform = np.concatenate([draws(50).uniform, draws(50, seed=1).uniform])
    assert len(np.unique(uniform)) == uniform.size


def test_crops_and_flips_come_from_everywhere():
    """The patch holds its own coordinates, so that a crop tells where it was cut."""
    patch = np.stack([*np.mgrid[0:20, 0:20], np.zeros((20, 20))]).astype(np.uint8)
    patches = np.repeat(patch[None], 600, axis=0)
    crops = augment.random_crops(patches, 16, draws(600))
    tops, lefts = crops[:, 0, 0, 0], crops[:, 1, 0, 0]
    assert set(tops) == set(lefts) == set(range(5))
    assert set(zip(tops, lefts)) == {(a, b) for a in range(5) for b in range(5)}
    np.testing.assert_array_equal(crops[7], patch[:, tops[7] : tops[7] + 16, lefts[7] : lefts[7] + 16])
    flipped = crops.copy()
    augment.mirror(flipped, draws(600))
    turned = (flipped != crops).any(axis=(1, 2, 3))
    assert 0.4 < turned.mean() < 0.6
    np.testing.assert_array_equal(flipped[turned], crops[turned][..., ::-1])


def test_ten_crops_are_corners_centre_and_mirror_images():
    patch = np.stack([*np.mgrid[0:20, 0:20], np.zeros((20, 20))]).astype(np.uint8)[None]
    crops = augment.ten_crops(patch, 16)[0]
    places = [(int(c[0, 0, 0]), int(c[1, 0, 0])) for c in crops[:5]]
    assert places == [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2)]
    np.testing.assert_array_equal(crops[5:], crops[:5, ..., ::-1])


@pytest.mark.parametrize("size", [(500, 375), (60, 600), (1, 1), (3, 2000)])
def test_random_part_lies_in_the_image(size):
    width, height = size
    parts = np.array([augment.random_part(width, height, row) for row in draws(300).uniform])
    left, top, right, bottom = parts.T
    assert (left >= 0).all() and (top >= 0).all() and (right <= width).all() and (bottom <= height).all()
    across, down = right - left, bottom - top
    assert (across > 0).all() and (down > 0).all()
    if size == (500, 375):
        area = across * down / (width * height)
        assert 0.07 < area.min() < 0.12 and 0.8 < area.max() <= 1
        assert 0.72 < (across / down).min() < 0.8 and 1.25 < (across / down).max() < 1.36


def test_statistics_are_those_of_the_pixels(statistics, train_set):
    pixels = np.stack([CROP.patch(train_set.path(i)) for i in range(len(train_set))]).astype(np.float64)
    np.testing.assert_allclose(statistics.mean_image, pixels.mean(axis=0).transpose(2, 0, 1))
    flat = pixels.reshape(-1, 3)
    np.testing.assert_allclose(statistics.std, flat.std(axis=0), rtol=1e-9)
    covariance = np.cov(flat.T, bias=True)
    rebuilt = statistics.eigenvectors * statistics.eigenvalues @ statistics.eigenvectors.T
    np.testing.assert_allclose(rebuilt, covariance, rtol=1e-6)
    assert (np.diff(statistics.eigenvalues) <= 0).all()


def test_statistics_are_measured_once_for_a_csv(train_set, tmp_path, monkeypatch, statistics):
    def measured(dataset: LabelledImages, preprocess: Preprocess = CROP) -> int:
        reads = []
        read = LabelledImages.read
        with monkeypatch.context() as patched:
            patched.setattr(LabelledImages, "read", lambda *a: reads.append(a) or read(*a))
            found = open_statistics(dataset, preprocess, tmp_path / "cache", faults=Faults(), workers=2)
        if preprocess == CROP and dataset is train_set:
            np.testing.assert_array_equal(found.mean_image, statistics.mean_image)
        return len(reads)

    assert [measured(train_set), measured(train_set)] == [30, 0]
    assert measured(train_set, replace(CROP, resize=50)) == 30
    saved = next((tmp_path / "cache").glob("*.npz"))
    saved.write_bytes(saved.read_bytes()[:-200])
    assert sum(measured(train_set, p) for p in (CROP, replace(CROP, resize=50))) == 30
    csv = tmp_path / "other.csv"
    csv.write_text((train_set.table.csv).read_text().replace(",train\n", ",test\n", 4))
    table = read_table(train_set.table.root, csv, train_set.table.root / "classes.txt")
    assert measured(LabelledImages(table, "train", CROP)) == 26


@pytest.mark.parametrize("deviations", [False, True])
def test_pca_noise_has_the_paper_s_spread_along_the_components(statistics, deviations):
    """Section 4.1: along each component p_i, α_i λ_i with α_i of deviation σ, of values in 0..1."""
    noise = augment.pca_noise(statistics, 0.1 * draws(4000).normal, deviations=deviations) / 255
    spread = (noise @ statistics.eigenvectors).std(axis=0)
    values = statistics.eigenvalues / 255**2
    np.testing.assert_allclose(spread, 0.1 * (np.sqrt(values) if deviations else values), rtol=0.05)


def test_noise_shifts_the_whole_image_by_one_colour(train_set, statistics):
    changes = DataConfig(geometry="crop", pca_noise=0.5)
    square = replace(CROP, resize=48)
    noisy, plain = (
        next(iter(Loader(train_set, square, batch_size=4, changes=c, statistics=statistics)))[0].numpy()
        for c in (changes, replace(changes, pca_noise=0.0))
    )
    difference = noisy - plain
    assert difference.std(axis=(2, 3)).max() < 1e-5 < np.abs(difference).max()
    expected = augment.pca_noise(statistics, 0.5 * draws(4).normal, deviations=False) / (255 * np.array(STD))
    np.testing.assert_allclose(difference[:, :, 0, 0], expected, atol=1e-5)


def test_jitter_is_brightness_then_contrast_then_saturation():
    planes = np.asarray(photo(16, 16)).transpose(2, 0, 1)[None].repeat(2, axis=0)
    factors = np.array([[0.7, 1.3, 0.6], [1, 1, 1]])
    matrix, shift = augment.jitter(planes, factors)
    jittered = (matrix @ planes.reshape(2, 3, -1).astype(np.float32) + shift).reshape(planes.shape)
    grey = np.array([0.299, 0.587, 0.114])
    by_hand = planes[0] * 0.7
    mean = (grey @ by_hand.reshape(3, -1)).mean()
    by_hand = mean + 1.3 * (by_hand - mean)
    own = np.tensordot(grey, by_hand, 1)
    np.testing.assert_allclose(jittered[0], own + 0.6 * (by_hand - own), atol=1e-2)
    np.testing.assert_allclose(jittered[1], planes[1], atol=1e-3)


def test_erasing_takes_a_rectangle_of_some_images():
    keep = augment.rectangles(40, draws(1000).uniform[:, 6:11], 0.25)[:, 0]
    erased = (keep == 0).mean(axis=(1, 2))
    assert 0.2 < (erased > 0).mean() < 0.3
    assert 0.01 < erased[erased > 0].min() < 0.04 and 0.25 < erased.max() < 0.36
    for mask in keep[erased > 0][:20]:
        rows, columns = np.any(mask == 0, axis=1), np.any(mask == 0, axis=0)
        assert (mask == 0).sum() == rows.sum() * columns.sum(), "one rectangle"


def test_mixup_blends_images_and_labels_alike(train_set):
    changes = DataConfig(geometry="crop", mixup=1.0)
    square = replace(CROP, resize=48)
    plain, label = next(iter(Loader(train_set, square, batch_size=6)))
    mixed, shares = next(iter(Loader(train_set, square, batch_size=6, changes=changes)))
    np.testing.assert_allclose(shares.numpy().sum(axis=1), 1, atol=1e-6)
    shares, label, plain = shares.numpy(), label.numpy(), plain.numpy()
    share = next(s[a] for s, a, b in zip(shares, label, label[::-1]) if a != b)
    assert 0 < share < 1
    np.testing.assert_allclose(mixed.numpy(), share * plain + (1 - share) * plain[::-1], atol=1e-5)
    np.testing.assert_allclose(shares, share * np.eye(10)[label] + (1 - share) * np.eye(10)[label[::-1]], atol=1e-6)


def test_loss_of_blended_labels_is_the_blend_of_the_losses():
    logits, label = paddle.randn([4, 10]), np.array([1, 2, 3, 4])
    shares = 0.3 * np.eye(10, dtype=np.float32)[label] + 0.7 * np.eye(10, dtype=np.float32)[label[::-1]]
    loss = CrossEntropy()
    parts = [loss(logits, paddle.to_tensor(np.ascontiguousarray(n))).item() for n in (label, label[::-1])]
    assert loss(logits, paddle.to_tensor(shares)).item() == pytest.approx(0.3 * parts[0] + 0.7 * parts[1], rel=1e-5)
    metric = MeanLoss()
    metric.update(metric.compute(logits, paddle.to_tensor(shares)).numpy())
    assert metric.accumulate() == pytest.approx(loss(logits, paddle.to_tensor(shares)).item(), rel=1e-5)
    assert metric.count == 4


def test_what_is_normalised_on_the_device_is_the_same(train_set, statistics):
    pixel = replace(CROP, mean_image=encode_mean_image(statistics.mean_image[:, 8:56, 8:56]))
    for changes, tolerance in ((None, 1e-6), (replace(ALL, colour_jitter=0.0), 1e-6), (ALL, 1e-5), (None, 1e-6)):
        batches = [
            next(iter(Loader(train_set, pixel, batch_size=9, changes=changes, statistics=statistics, on_device=on)))[0]
            for on in (False, True)
        ]
        here, there = (batch.numpy() for batch in batches)
        np.testing.assert_allclose(here, there, atol=tolerance, rtol=tolerance)


def test_mean_image_is_subtracted_pixel_by_pixel(train_set, statistics):
    mean = statistics.mean_image[:, 8:56, 8:56]
    pixel = replace(CROP, mean_image=encode_mean_image(mean))
    image = CROP(train_set.path(0))
    expected = (image.transpose(2, 0, 1) - mean.round()) / 255 / np.array(STD)[:, None, None]
    np.testing.assert_allclose(pixel.batch(image[None])[0], expected, atol=1e-5)
    assert TypeAdapter(Preprocess).validate_json(TypeAdapter(Preprocess).dump_json(pixel)) == pixel


@pytest.fixture(scope="module")
def augmented_run(demo_set, tmp_path_factory):
    """Everything at once: the paper's data, mixup and a cache on disk."""
    output = tmp_path_factory.mktemp("augmented") / "run"
    settings = ["geometry=crop", "resize=240", "mirror=true", "pca_noise=0.1", "normalise=pixel", "mixup=0.2"]
    settings += ["colour_jitter=0.2", "erasing=0.2", "cache=disk"]
    return train(small_config(demo_set, output, "train.epochs=1", *(f"data.{setting}" for setting in settings)))


def test_run_checkpoint_and_export_agree_with_crops_and_mean_image(augmented_run):
    for model in (augmented_run.output, augmented_run.output / "inference"):
        assert evaluate(Predictor(model), split="val").loss == pytest.approx(augmented_run.best.val_loss, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["", "inference"])
def test_ten_crops_average_the_probabilities(augmented_run, demo_set, tmp_path, folder):
    predictor = Predictor(augmented_run.output / folder)
    preprocess = predictor.metadata.preprocess
    csv = tmp_path / "labels.csv"
    lines = (demo_set / "labels.csv").read_text().splitlines()
    csv.write_text("\n".join([lines[0], *(line for line in lines if line.endswith(",val"))][:3]))
    shutil.copy(demo_set / "classes.txt", tmp_path)
    dataset = LabelledImages(read_table(demo_set, csv), "val", preprocess)
    losses = []
    for index in range(2):
        patch = preprocess.patch(dataset.path(index))
        views = [patch[y : y + 224, x : x + 224] for y, x in ((0, 0), (0, 16), (16, 0), (16, 16), (8, 8))]
        logits = predictor.logits(preprocess.batch(np.stack([*views, *(view[:, ::-1] for view in views)])))
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        losses.append(-np.log(probabilities.mean(axis=0)[dataset.labels[index]]))
    result = evaluate(predictor, split="val", root=demo_set, csv=csv, crops=10, batch_size=2)
    assert result.images == 2
    assert result.loss == pytest.approx(np.mean(losses), rel=1e-5)


def test_ten_crops_of_a_model_that_sees_whole_images_is_one_line(finished_run):
    assert_user_error(run_tool("evaluate", finished_run.output, "--crops", 10), "data.resize")


def test_patch_smaller_than_the_input_is_one_line(demo_set, tmp_path):
    with pytest.raises(UserError, match=r"data\.resize is 100, less than the network's input of 224"):
        train(small_config(demo_set, tmp_path / "run", "data.resize=100"))
