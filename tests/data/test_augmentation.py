"""Random augmentation: where crops come from, which colors, which rectangles, which labels."""

from dataclasses import replace

import numpy as np
import paddle
import pytest
from rounding import FEW, PIXELS

from paddle_alexnet.config.schema import DataConfig
from paddle_alexnet.data import augmentation
from paddle_alexnet.data.dataset import PatchDataset
from paddle_alexnet.data.loader import Loader
from paddle_alexnet.data.preprocess import Preprocess, encode_mean_image
from paddle_alexnet.evaluation.metrics import CrossEntropy, MeanLoss

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WHOLE = Preprocess(48, MEAN, STD, geometry="crop", resize=48)
FLIP = DataConfig(horizontal_flip=True)


def draws(count: int, seed: int = 0) -> augmentation.Draws:
    return augmentation.draw(range(count), seed=seed, epoch=0)


def test_draws_are_numpy_s_for_seed_epoch_and_index():
    """The numbers of an image in one order for ever, so that a run can be repeated by a later version."""
    drawn = augmentation.draw([5, 9], seed=3, epoch=2)
    rng = np.random.default_rng([3, 2, 9])
    uniform, normal = rng.random(33), rng.standard_normal(3)
    expected = np.split(uniform, [2, 3, 6, 11, 21, 31])
    for name, numbers in zip("corner flip jitter erasing part_area part_shape part_corner".split(), expected):
        np.testing.assert_array_equal(np.ravel(getattr(drawn, name)[1]), numbers, err_msg=name)
    np.testing.assert_array_equal(drawn.noise[1], normal)
    numbers = np.concatenate([np.ravel(field) for d in (draws(50), draws(50, seed=1)) for field in d])
    assert len(np.unique(numbers)) == numbers.size == 2 * 50 * 36


def test_crops_and_flips_come_from_everywhere():
    """The patch holds its own coordinates, so that a crop tells where it was cut."""
    patch = np.stack([*np.mgrid[0:20, 0:20], np.zeros((20, 20))]).astype(np.uint8)
    patches = np.repeat(patch[None], 600, axis=0)
    crops, changes = augmentation.augment(patches, draws(600), DataConfig(), Preprocess(16, MEAN, STD, resize=20), None)
    assert changes == augmentation.PixelChanges()
    tops, lefts = crops[:, 0, 0, 0], crops[:, 1, 0, 0]
    assert {(a, b) for a, b in zip(tops, lefts)} == {(a, b) for a in range(5) for b in range(5)}
    np.testing.assert_array_equal(crops[7], patch[:, tops[7] : tops[7] + 16, lefts[7] : lefts[7] + 16])
    flipped, _ = augmentation.augment(patches, draws(600), FLIP, Preprocess(16, MEAN, STD, resize=20), None)
    turned = (flipped != crops).any(axis=(1, 2, 3))
    assert 0.4 < turned.mean() < 0.6
    np.testing.assert_array_equal(flipped[turned], crops[turned][..., ::-1])


def test_ten_crops_are_corners_center_and_their_flips():
    patch = np.stack([*np.mgrid[0:20, 0:20], np.zeros((20, 20))]).astype(np.uint8)[None]
    crops = augmentation.ten_crops(patch, 16)[0]
    corners = [(int(c[0, 0, 0]), int(c[1, 0, 0])) for c in crops[:5]]
    assert corners == [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2)]
    np.testing.assert_array_equal(crops[5:], crops[:5, ..., ::-1])


def test_the_mean_image_is_cropped_and_flipped_with_the_patches_where_that_is_asked_for(statistics):
    """Caffe subtracts the mean image from the patch before it crops; 2012's source subtracts its center."""
    center_mean = statistics.mean_image[:, 8:56, 8:56]
    preprocess = Preprocess(48, MEAN, STD, resize=64, mean_image=encode_mean_image(center_mean))
    patches = np.random.default_rng(0).integers(0, 256, (40, 3, 64, 64), dtype=np.uint8)
    at_crop, center = (
        augmentation.finish(*augmentation.augment(patches, draws(40), config, preprocess, statistics), preprocess)
        for config in (DataConfig(horizontal_flip=True, normalize=n) for n in ("pixel_at_crop", "pixel"))
    )
    mean, std = statistics.mean_image.round(), 255 * np.array(STD)[:, None, None]
    for n, (patch, (top, left)) in enumerate(zip(patches.astype(float), (draws(40).corner * 17).astype(int))):
        window, turn = np.s_[:, top : top + 48, left : left + 48], -1 if draws(40).flip[n] < 0.5 else 1
        np.testing.assert_allclose(at_crop[n], (patch - mean)[window][..., ::turn] / std, atol=PIXELS)
        np.testing.assert_allclose(center[n], (patch[window][..., ::turn] - center_mean.round()) / std, atol=PIXELS)


@pytest.mark.parametrize("size", [(500, 375), (60, 600), (1, 1), (3, 2000)])
def test_random_part_lies_in_the_image(size):
    width, height = size
    parts = np.array([part(width, height) for part in augmentation.random_parts(draws(300))])
    left, top, right, bottom = parts.T
    assert (left >= 0).all() and (top >= 0).all() and (right <= width).all() and (bottom <= height).all()
    across, down = right - left, bottom - top
    assert (across > 0).all() and (down > 0).all()
    if size == (500, 375):
        area = across * down / (width * height)
        assert 0.07 < area.min() < 0.12 and 0.8 < area.max() <= 1
        assert 0.72 < (across / down).min() < 0.8 and 1.25 < (across / down).max() < 1.36
        large = np.array([part(width, height) for part in augmentation.random_parts(draws(300), least=0.5)])
        areas = (large[:, 2] - large[:, 0]) * (large[:, 3] - large[:, 1]) / (width * height)
        assert 0.48 < areas.min() < 0.55 and 0.8 < areas.max() <= 1


@pytest.mark.parametrize("deviations", [False, True])
def test_pca_noise_has_the_paper_s_spread_along_the_components(statistics, deviations):
    """Section 4.1: along each component p_i, α_i λ_i with α_i of deviation σ, of values in 0..1."""
    noise = augmentation.pca_noise(statistics, 0.1 * draws(4000).noise, deviations=deviations) / 255
    spread = (noise @ statistics.eigenvectors).std(axis=0)
    values = statistics.eigenvalues / 255**2
    expected = 0.1 * (np.sqrt(values) if deviations else values)
    np.testing.assert_allclose(spread, expected, rtol=0.05)  # 4.5 standard errors of 1 / sqrt(2 * 4000)


def test_noise_shifts_the_whole_image_by_one_color(statistics):
    config = DataConfig(geometry="crop", pca_noise=0.5)
    images = np.zeros((4, 3, 48, 48), np.uint8)
    noisy, plain = (
        augmentation.finish(*augmentation.augment(images, draws(4), c, WHOLE, statistics), WHOLE)
        for c in (config, replace(config, pca_noise=0.0))
    )
    difference = noisy - plain
    assert difference.std(axis=(2, 3)).max() < PIXELS < np.abs(difference).max()
    expected = augmentation.pca_noise(statistics, 0.5 * draws(4).noise, deviations=False) / (255 * np.array(STD))
    np.testing.assert_allclose(difference[:, :, 0, 0], expected, atol=PIXELS)


def test_jitter_is_brightness_then_contrast_then_saturation():
    planes = np.random.default_rng(0).integers(0, 256, (1, 3, 16, 16), dtype=np.uint8).repeat(2, axis=0)
    factors = np.array([[0.7, 1.3, 0.6], [1, 1, 1]])
    matrix, shift = augmentation.jitter(planes, factors)
    jittered = (matrix @ planes.reshape(2, 3, -1).astype(np.float32) + shift).reshape(planes.shape)
    gray = np.array([0.299, 0.587, 0.114])
    by_hand = planes[0] * 0.7
    mean = (gray @ by_hand.reshape(3, -1)).mean()
    by_hand = mean + 1.3 * (by_hand - mean)
    own = np.tensordot(gray, by_hand, 1)
    np.testing.assert_allclose(jittered[0], own + 0.6 * (by_hand - own), atol=255 * FEW)
    np.testing.assert_allclose(jittered[1], planes[1], atol=255 * FEW)


def test_erasing_takes_a_rectangle_of_some_images():
    keep = augmentation.rectangles(40, draws(1000).erasing, 0.25)[:, 0]
    erased = (keep == 0).mean(axis=(1, 2))
    assert 0.2 < (erased > 0).mean() < 0.3
    assert 0.01 < erased[erased > 0].min() < 0.04 and 0.25 < erased.max() < 0.36
    for mask in keep[erased > 0][:20]:
        rows, columns = np.any(mask == 0, axis=1), np.any(mask == 0, axis=0)
        assert (mask == 0).sum() == rows.sum() * columns.sum(), "one rectangle"


def test_erased_pixels_are_the_mean_color():
    config = DataConfig(random_erasing=1.0, color_jitter=0.3)
    patches = np.random.default_rng(0).integers(0, 256, (20, 3, 48, 48), dtype=np.uint8)
    images, changes = augmentation.augment(patches, draws(20), config, WHOLE, None)
    finished = augmentation.finish(images, changes, WHOLE)
    erased = np.broadcast_to(augmentation.rectangles(48, draws(20).erasing, 1.0) == 0, finished.shape)
    assert (finished[erased] == 0).all() and (finished[~erased] != 0).mean() > 0.99


def test_mixup_blends_images_and_labels_alike(train_set):
    config = DataConfig(mixup=1.0)
    dataset = PatchDataset(train_set.table, "train", WHOLE)
    plain, label = next(iter(Loader(dataset, WHOLE, batch_size=6)))
    mixed, shares = next(iter(Loader(dataset, WHOLE, batch_size=6, augmentation=config)))
    np.testing.assert_allclose(shares.numpy().sum(axis=1), 1, atol=FEW)
    shares, label, plain = shares.numpy(), label.numpy(), plain.numpy()
    share = next(s[a] for s, a, b in zip(shares, label, label[::-1]) if a != b)
    assert 0 < share < 1
    np.testing.assert_allclose(mixed.numpy(), share * plain + (1 - share) * plain[::-1], atol=PIXELS)
    np.testing.assert_allclose(shares, share * np.eye(10)[label] + (1 - share) * np.eye(10)[label[::-1]], atol=FEW)


def test_loss_of_blended_labels_is_the_blend_of_the_losses():
    logits, label = paddle.randn([4, 10]), np.array([1, 2, 3, 4])
    shares = 0.3 * np.eye(10, dtype=np.float32)[label] + 0.7 * np.eye(10, dtype=np.float32)[label[::-1]]
    loss = CrossEntropy()
    parts = [loss(logits, paddle.to_tensor(np.ascontiguousarray(n))).item() for n in (label, label[::-1])]
    assert loss(logits, paddle.to_tensor(shares)).item() == pytest.approx(0.3 * parts[0] + 0.7 * parts[1], rel=FEW)
    metric = MeanLoss()
    metric.update(metric.compute(logits, paddle.to_tensor(shares)).numpy())
    assert metric.accumulate() == pytest.approx(loss(logits, paddle.to_tensor(shares)).item(), rel=FEW)
    assert metric.count == 4


@pytest.mark.parametrize("size", [1, 7, 8, 9, 227])
def test_mirrored_exchanges_left_and_right(size):
    planes = np.random.default_rng(0).integers(0, 256, (2, 3, 5, size), dtype=np.uint8)
    assert np.array_equal(augmentation.mirrored(planes), planes[..., ::-1])
    windows = np.lib.stride_tricks.sliding_window_view(planes, (5, size), axis=(2, 3))  # as crops are, not contiguous
    assert np.array_equal(augmentation.mirrored(windows[:, :, 0, 0]), planes[..., ::-1])
